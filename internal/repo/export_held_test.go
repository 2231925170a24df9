package repo

// Holding returns options by which no more than n chunks are held in memory while the index is read.
func Holding(o Options, n int) Options {
	o.held = n
	return o
}
