// Package frozen holds no code, only tests of the promise that lies in docs/FORMAT.md: that what was written once is read for ever, and
// without firn. They hold the code to the vectors and to the frozen repositories in testdata/, restore with recover.py, and look at every
// object with sha256sum, age and zstd alone.
package frozen
