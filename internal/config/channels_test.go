package config

import "testing"

// TestChannels: whom there is to tell is found whatever is wrong with the rest.
func TestChannels(t *testing.T) {
	const channel = "[notify.ops]\ntype = \"command\"\ncommand = \"cat\"\n"
	for name, text := range map[string]string{
		"unknown key":      "bogus = 1\n" + channel,
		"unset variable":   "repository = \"${NOT_SET_ANYWHERE}\"\n" + channel,
		"no TOML after it": channel + "[sources.a\npath = \"/\"\n",
		"faulty channel":   channel + "tries = 1000\nbogus = true\n",
	} {
		read := world{files: map[string]string{"/etc/firn.toml": text}}
		if _, err := Load(read, "/etc/firn.toml", nil); err == nil {
			t.Errorf("%s: nothing is wrong", name)
		}
		c := Channels(read, "/etc/firn.toml", nil)
		if c == nil || len(c.Notify) != 1 || c.Notify[0].Command != "cat" || !c.Notify[0].All {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if Channels(world{files: map[string]string{"/etc/firn.toml": "bogus = 1\n"}}, "/etc/firn.toml", nil) != nil || Channels(world{}, "/etc/firn.toml", nil) != nil {
		t.Error("there are none")
	}
}
