package keys

import "crypto/rand"

// random fills b from the system's generator, which never fails (Go ends the program if it does).
func random(b []byte) { _, _ = rand.Read(b) }
