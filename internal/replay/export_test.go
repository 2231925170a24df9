package replay

// Still has nothing fetched while the job looks after its copies.
func (o *ThawOptions) Still() { o.still = true }
