package sync

// FirstSum is the first name of a list.
func FirstSum(c *Checksums) (string, bool) {
	s := c.open()
	defer s.close()
	return s.name, s.have
}
