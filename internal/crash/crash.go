// Package crash kills the real program with SIGKILL at random moments of each verb, runs the same command again, and compares what there is with what there should be; on a real file system and against a real S3 server. It
// also has many real processes work on one repository at once. It holds tests only.
//
// FIRN_KILLS says how often to kill in all (default 36), FIRN_CROWD how many backups each of the writers makes (default 4), FIRN_SEED which trees and moments are drawn (default: others each time, and the log names them).
package crash
