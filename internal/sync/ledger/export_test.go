package ledger

// Drop lets go of the book as a process that is killed does: the next Open makes the new ledger.
func (b *Book) Drop() {
	b.journal.Close()
	b.lock.Release()
}
