//go:build !linux

package serve

// reloading is what the service manager is told when the configuration is read again.
func reloading() string { return "RELOADING=1" }
