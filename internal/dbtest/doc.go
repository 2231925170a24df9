// Package dbtest starts real database servers for tests: PostgreSQL and MariaDB, each in a folder of its own, on a Unix socket there, as an ordinary user. Where the programs are missing, the test is skipped with
// the reason, or fails where it runs unattended and they are expected (CI=true).
package dbtest
