// Package tidy holds no code, only tests that keep the house in order: which package may import which, and a few rules that
// every file keeps without exception. The table of floors stands in tidy_test.go, with the reason beside each package.
package tidy
