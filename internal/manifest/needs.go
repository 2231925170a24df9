package manifest

// ContentChunks tells v every chunk that the content of one file needs, those of its content tree included.
func ContentChunks(src Source, e *Entry, v Visitor) error {
	r := &Reader{src: src}
	var recent recentChunks
	return r.contentChunks(e, &v, &recent)
}
