// Package metamorphic tests backup and restore as a whole: whatever the settings, the interruptions and the faults, the same history of a tree gives
// the same restored trees. It has tests only.
//
//   - TestHistories backs one random history of a folder up under many settings side by side, with runs that are cancelled, killed and
//     disturbed, and restores every snapshot that is done.
//   - TestPruneBesideBackups lets a pruner retire, forget, delete and compact by the rules of the protocol between any two requests of backups.
//   - TestHangingStore lets one request of each kind hang, and expects the run to end in time.
//
// FIRN_METAMORPHIC_TIME (such as 10m) makes the tests run that long, each with new seeds; FIRN_METAMORPHIC_SEED runs one seed.
package metamorphic
