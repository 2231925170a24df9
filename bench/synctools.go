//go:build unix

package main

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
)

// syncTool is how to drive one program.
type syncTool struct {
	name string
	bin  string
	slow bool
	args func(b *syncBench, s *syncServer, bin, src, home string) []string
	env  func(s *syncServer, home string) []string
}

const syncTo = "s3://" + syncBucket + "/p"

func syncTools() []syncTool {
	return []syncTool{
		{name: "firn", args: func(_ *syncBench, s *syncServer, bin, src, _ string) []string {
			return []string{bin, "sync", "--config", "none", "-q", src, syncTo, "--endpoint", s.endpoint, "--path-style=on"}
		}, env: func(_ *syncServer, home string) []string {
			return []string{"FIRN_STATE_DIR=" + filepath.Join(home, "state"), "FIRN_CACHE_DIR=" + filepath.Join(home, "cache")}
		}},
		{name: "s5cmd", args: func(_ *syncBench, s *syncServer, bin, src, _ string) []string {
			return []string{bin, "--log", "error", "--endpoint-url", s.endpoint, "sync", src + "/", syncTo + "/"}
		}},
		{name: "rclone", args: rcloneArgs("--transfers", "32", "--checkers", "32", "--fast-list"), env: rcloneEnv},
		{name: "rclone, as it comes", args: rcloneArgs(), env: rcloneEnv},
		{name: "aws", slow: true, args: func(_ *syncBench, s *syncServer, bin, src, _ string) []string {
			return []string{bin, "s3", "sync", "--only-show-errors", "--endpoint-url", s.endpoint, src, syncTo}
		}},
		{name: "s3cmd", slow: true, args: func(_ *syncBench, s *syncServer, bin, src, _ string) []string {
			return []string{bin, "-c", "/dev/null", "-q", "--no-progress", "--no-ssl", "--region=us-east-1", "--host=" + s.host, "--host-bucket=" + s.host, "--access_key=" + syncAccess, "--secret_key=" + syncSecret, "sync", src + "/", syncTo + "/"}
		}},
	}
}

func rcloneArgs(more ...string) func(*syncBench, *syncServer, string, string, string) []string {
	return func(_ *syncBench, _ *syncServer, bin, src, _ string) []string {
		return append([]string{bin, "sync", "-q", src, "b:" + syncBucket + "/p"}, more...)
	}
}

func rcloneEnv(s *syncServer, home string) []string {
	return []string{"RCLONE_CONFIG=" + filepath.Join(home, "rclone.conf"), "RCLONE_CONFIG_B_TYPE=s3", "RCLONE_CONFIG_B_PROVIDER=Other", "RCLONE_CONFIG_B_ENDPOINT=" + s.endpoint, "RCLONE_CONFIG_B_REGION=us-east-1",
		"RCLONE_CONFIG_B_ACCESS_KEY_ID=" + syncAccess, "RCLONE_CONFIG_B_SECRET_ACCESS_KEY=" + syncSecret}
}

// find looks for the programs; firn comes first.
func (b *syncBench) find() (found []syncTool) {
	for _, t := range syncTools() {
		name := t.name
		if name == "rclone, as it comes" {
			name = "rclone"
		}
		t.bin = b.syncOptions.tools[name]
		if t.name == "firn" {
			t.bin = b.firn
		}
		if t.bin == "" {
			t.bin, _ = exec.LookPath(name) // not there: it is left out
		}
		if t.bin != "" {
			found = append(found, t)
		}
	}
	return found
}

// command is what is run.
func (t *syncTool) command(b *syncBench, s *syncServer, src, home string, more ...string) command {
	env := []string{"PATH=" + cmp.Or(os.Getenv("PATH"), "/usr/bin:/bin"), "HOME=" + home, "AWS_ACCESS_KEY_ID=" + syncAccess, "AWS_SECRET_ACCESS_KEY=" + syncSecret, "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1",
		"AWS_EC2_METADATA_DISABLED=true", "LANG=C.UTF-8"}
	if t.env != nil {
		env = append(env, t.env(s, home)...)
	}
	return command{args: append(t.args(b, s, t.bin, src, home), more...), env: env}
}
