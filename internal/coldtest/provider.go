package coldtest

import "time"

// How a server treats the tier in a RestoreObject.
const (
	TiersKnown     = iota // as Amazon does
	TiersMalformed        // MalformedXML
	TiersInvalid          // InvalidArgument
	TiersIgnored
)

// How a server treats checksums of its clients other than Content-MD5.
const (
	ChecksumsVerified = iota // verified, kept and told
	ChecksumsIgnored
	ChecksumsRefused // NotImplemented
	ChecksumsInvalid // InvalidArgument
)

// Provider says how a server differs from Amazon's. The differences combine freely.
type Provider struct {
	Tiers        int  // TiersKnown, …; unless they are known, a tier is no way to hurry a thaw that is under way
	RestoreOK    bool // a thaw that begins is answered with 200 instead of 202
	NoListStatus bool // listings leave out RestoreStatus, without an error

	Classes        []string      // classes that there are; empty: Amazon's
	Cold           []string      // of these, what must be thawed besides GLACIER and DEEP_ARCHIVE
	Thaw           time.Duration // how long a thaw takes at most, whatever the class and tier; 0: as at Amazon's
	ClassesIgnored bool          // everything is STANDARD, and there is no RestoreObject

	ConditionsIgnored bool // If-None-Match and If-Match of writes
	Checksums         int  // ChecksumsVerified, …
	MaxParts          int  // of an upload; 0: 10,000

	NoLifecycle bool // NotImplemented
	NoVersions  bool // NotImplemented: versioning and Object Lock
	NoAttribute bool // NotImplemented: GetObjectAttributes
}

// Providers as their documentation describes them, as of 2026. Each is a simplification.
var (
	// Amazon is the zero Provider.
	Amazon = Provider{}
	// NoTiers thaws without tiers and refuses them, as OVHcloud's Cold Archive does.
	NoTiers = Provider{Tiers: TiersMalformed, Classes: []string{standard, "STANDARD_IA", "GLACIER_IR", glacier, deep}}
	// Scaleway has three classes, one of them cold, and no tiers.
	Scaleway = Provider{Tiers: TiersInvalid, Classes: []string{standard, "ONEZONE_IA", glacier}, MaxParts: 1000}
	// Ceph answers a restore with 200, does not tell of it in listings, and accepts any tier.
	Ceph = Provider{Tiers: TiersIgnored, RestoreOK: true, NoListStatus: true, NoAttribute: true}
	// Versity knows no classes.
	Versity = Provider{ClassesIgnored: true, NoListStatus: true, NoLifecycle: true}
	// Old is a server that ignores whatever is newer than itself.
	Old = Provider{ClassesIgnored: true, NoListStatus: true, ConditionsIgnored: true, Checksums: ChecksumsIgnored, NoAttribute: true}
)

// lacks refuses what the provider has not got.
func (p Provider) lacks(operation string) error {
	missing := false
	switch operation {
	case "GetBucketLifecycleConfiguration", "PutBucketLifecycleConfiguration", "DeleteBucketLifecycle":
		missing = p.NoLifecycle
	case "GetBucketVersioning", "PutBucketVersioning", "ListObjectVersions", "GetObjectLockConfiguration", "PutObjectLockConfiguration", "GetObjectRetention", "PutObjectRetention",
		"GetObjectLegalHold", "PutObjectLegalHold":
		missing = p.NoVersions
	case "GetObjectAttributes":
		missing = p.NoAttribute
	}
	if missing {
		return notImplemented(operation)
	}
	return nil
}
