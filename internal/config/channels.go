package config

// Channels reads of a configuration only whom there is to tell, whatever is wrong with the rest: that it is refused has to reach somebody. Channels with faults are among them. Nil: there are none, or
// the file cannot be read.
func Channels(read Reader, name string, kinds []Kind) *Config {
	raw, err := read.ReadFile(name)
	if err != nil {
		return nil
	}
	l := &loader{read: read, b: newBuilder(kinds, read.Env)}
	l.file(name, raw, 0)
	l.b.each("notify", l.b.channel)
	if len(l.b.cfg.Notify) == 0 {
		return nil
	}
	return &Config{Files: l.b.cfg.Files, Notify: l.b.cfg.Notify}
}
