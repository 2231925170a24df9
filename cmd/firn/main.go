// Firn backs up files to object storage, cold storage first. "firn --help" tells more.
package main

import (
	"os"

	"firn/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
