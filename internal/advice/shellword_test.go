package advice

import (
	"os/exec"
	"testing"
)

// TestShellWord: the shell reads what was meant.
func TestShellWord(t *testing.T) {
	sh, err := exec.LookPath("/bin/sh")
	if err != nil {
		t.Skip(err)
	}
	for _, text := range []string{"", "plain/a-b_1.zfs", "a b", "it's", `"$(id)`, "`id`", "-dash", "~", "#no", "a;b", "a\nb", "*", "größe", `back\slash`} {
		out, err := exec.Command(sh, "-c", "printf %s "+ShellWord(text)).Output()
		if err != nil || string(out) != text {
			t.Errorf("%q became %q: %v", text, out, err)
		}
	}
}
