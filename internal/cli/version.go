package cli

import (
	"runtime"

	"github.com/spf13/cobra"

	"firn/internal/format"
)

func newVersion(c *console) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		Example: "  firn version\n  firn version --json",
		RunE: func(*cobra.Command, []string) error {
			if c.json != "" {
				return c.object(map[string]any{"event": "version", "version": Version, "format": format.Version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
			}
			c.print("firn %s (repository format %d, %s, %s/%s)\n", Version, format.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
