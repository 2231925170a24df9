package advice

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"firn/internal/backup"
	"firn/internal/browse"
	"firn/internal/doctor"
	"firn/internal/format"
	"firn/internal/glob"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/s3"
	"firn/internal/thaw"
)

// rule gives a hint for the errors that it knows, else nothing.
type rule func(error) string

// is makes a rule for one error value.
func is(target error, hint string) rule {
	return func(err error) string {
		if errors.Is(err, target) {
			return hint
		}
		return ""
	}
}

// as makes a rule for errors of one type.
func as[T error](hint func(T) string) rule {
	return func(err error) string {
		var found T
		if errors.As(err, &found) {
			return hint(found)
		}
		return ""
	}
}

// say is for as, where the hint is always the same.
func say[T error](hint string) rule { return as(func(T) string { return hint }) }

// rules in order: the first that speaks is heard, so what lies deeper in a chain of causes, and is more exact, stands first.
func rules() []rule {
	var all []rule
	for _, group := range [][]rule{notifyRules(), replayRules(), formatRules(), keyRules(), coldRules(), storeRules(), networkRules(), damageRules(), choiceRules(), sourceRules(), localRules()} {
		all = append(all, group...)
	}
	return all
}

const newer = "a newer firn wrote this: update firn on this machine"

func formatRules() []rule {
	return []rule{
		say[*format.NewerFormatError](newer),
		say[*format.UnknownFeatureError](newer),
		say[*keys.VersionError](newer),
		say[*snapshot.VersionError](newer),
		say[*format.FieldError]("firn.json is damaged; every other object opens without it, see RECOVER.md in the repository"),
		is(repo.ErrHeadless, "get firn.json back from a copy or an older version of the store; all the rest opens without it, see RECOVER.md there; where firn init was interrupted, run that again"),
		is(repo.ErrNoRepository, "check --repo (or FIRN_REPO) and --endpoint; a new repository is made by: firn init REPO"),
		is(repo.ErrExists, "back up into it with: firn backup --repo REPO PATH; or choose another place for a new one"),
		is(repo.ErrNotEmpty, "choose an empty folder, or a prefix of its own such as s3://bucket/firn"),
	}
}

// HowToUnlock names the ways to give a secret.
const HowToUnlock = "give FIRN_PASSPHRASE, --passphrase-file, --passphrase-command or --identity"

func keyRules() []rule {
	return []rule{
		is(repo.ErrWrongKey, "check that --repo is the repository that this key was made for"),
		is(repo.ErrWriteOnly, HowToUnlock),
		is(repo.ErrNoScope, HowToUnlock),
		is(repo.ErrNoHost, "give --host-key, or a passphrase or identity to enroll this host"),
		is(repo.ErrLastKey, "add another key first: firn keys add"),
		is(repo.ErrNoKey, HowToUnlock),
		say[*keys.ClassicRecipientError]("give recipients that begin with age1pq1 (age-keygen -pq makes them), or a passphrase"),
		is(keys.ErrSecretGiven, "give the public recipient (age-keygen -y prints it); a secret key that stood in a command line is no longer secret"),
		is(keys.ErrURL, "download it, look at it, and give the file's name"),
		is(keys.ErrNeedsPassphrase, "run it in a terminal, or give an identity that is not encrypted"),
		is(keys.ErrEmptyPassphrase, "look at the file, or at what the command prints"),
		as(func(e *state.ModeError) string { return fmt.Sprintf("chmod 600 %s", ShellWord(e.Path)) }),
		as(func(e *state.HeldError) string {
			if e.PID > 0 {
				return fmt.Sprintf("wait until process %d has ended; backups of other sources may run meanwhile", e.PID)
			}
			return "wait until it has ended; backups of other sources may run meanwhile"
		}),
	}
}

const again = "run the same command again: it goes on where it stopped"

func coldRules() []rule {
	return []rule{
		say[*thaw.BudgetError]("raise --max-cost, choose a slower --tier, or restore less at a time; what was paid for is not lost, the same command goes on with it"),
		as(func(e *thaw.BusyError) string {
			if e.PID > 0 {
				return fmt.Sprintf("process %d is at it: firn thaw show %s tells how far it is", e.PID, e.ID)
			}
			return "firn thaw show " + e.ID + " tells how far it is"
		}),
		say[*thaw.NoJobError]("firn thaw list shows the jobs of this machine; without its job the same restore begins anew, and pays for nothing that is thawed already"),
		say[*thaw.EndedError]("firn thaw list shows which jobs are under way; the same restore, run again, makes a new one"),
		as(func(e *thaw.LeftError) string {
			if e.Missing == 0 && e.First != nil {
				return Hint(e.First)
			}
			return HowToHeal
		}),
		as(func(e *store.Error) string {
			if e.Op != "thaw" || !errors.Is(e.Err, store.ErrDenied) {
				return ""
			}
			return "thawing takes the right s3:RestoreObject, which a write-only host need not have: give it to the credentials or take others, then " + again
		}),
		as(func(e *store.LockedError) string {
			if e.Lock.Hold {
				return "somebody put a legal hold on it, and has to take it off first"
			}
			return "nobody can delete it before that; what is not needed any more goes with a later firn prune"
		}),
		is(store.ErrTier, "leave --tier out or choose another: Deep Archive has no expedited one, and some stores have none at all"),
		is(store.ErrNoCapacity, "the provider has no room for fast retrievals now: choose --tier standard, or run the same command later"),
		is(store.ErrThawing, "it is on its way: run the same command again later"),
		as(func(e *store.Error) string {
			switch {
			case !errors.Is(e.Err, store.ErrCold):
				return ""
			case strings.HasPrefix(e.Name, "data/"):
				return "firn restore --plan says what thawing costs and how long it takes; firn restore does it, and goes on where it was interrupted; firn thaw makes it readable for firn cat and others"
			}
			return "a rule of the bucket moved it, most likely, and all that backups need with it: firn doctor tells which; firn thaw --metadata brings it back, and says before what that costs"
		}),
		is(store.ErrCold, "the object lies in an archive class and has to be thawed before it can be read: firn restore --plan says what that costs"),
		as(func(e *price.UnknownError) string {
			if len(e.Nearest) > 0 {
				return "was " + strings.Join(e.Nearest[:min(len(e.Nearest), 3)], " or ") + " meant?"
			}
			return ""
		}),
		say[*price.ParseError]("the file of prices is TOML; an unknown key is an error, so that no price is left out by a slip"),
		is(doctor.ErrDocument, "give what aws s3api get-bucket-lifecycle-configuration prints"),
	}
}

func storeRules() []rule {
	return []rule{
		as(func(e *s3.Error) string {
			if !errors.Is(e, s3.ErrRegion) {
				return ""
			}
			if e.Region == "" {
				return "give the bucket's region with --region"
			}
			return "try --region " + e.Region
		}),
		as(func(e *s3.Error) string {
			if !strings.HasPrefix(e.Code, "ExpiredToken") && e.Code != "TokenRefreshRequired" {
				return ""
			}
			return "the credentials were good for a time that is over: log in again or get new ones, then " + again
		}),
		is(store.ErrAuth, "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws (--profile) or the instance: check that they are there, have not expired and belong to this --endpoint"),
		is(store.ErrClock, "set this machine's clock, for example with: timedatectl set-ntp true"),
		is(store.ErrDenied, "the credentials, or the owner and mode of the folder, must allow to list, read and create objects (and to delete, for pruning)"),
		is(store.ErrReadOnly, "make the store writable, or choose another with --repo"),
		is(store.ErrFull, "make room or raise the quota, then "+again),
		is(store.ErrNoStore, "check the bucket's name, --endpoint and --region; a new repository is made by: firn init REPO"),
		is(store.ErrChecksum, "data were damaged on their way or in memory; "+again+", and test this machine's memory if it happens again"),
		is(store.ErrUnsupported, "the server has not all of the S3 protocol: firn doctor tells what it lacks"),
		is(store.ErrTimeout, "check the network and --endpoint, then "+again),
	}
}

func networkRules() []rule {
	return []rule{
		say[*net.DNSError]("check the spelling of --endpoint, or the network's name server"),
		say[*tls.CertificateVerificationError]("the server's certificate does not fit; for a private authority set AWS_CA_BUNDLE to its file"),
		say[x509.UnknownAuthorityError]("for a private authority set AWS_CA_BUNDLE to its file"),
		say[tls.RecordHeaderError]("the server does not speak TLS: does --endpoint have to begin with http:// ?"),
		say[*net.OpError]("nothing answers there: check --endpoint and the network, then " + again),
	}
}

// HowToHeal is what to do about packs that are damaged or gone.
const HowToHeal = "get the objects back from a copy or an older version of the store; or back up once with --full, which stores anew what the source still has, and restore from that snapshot"

func damageRules() []rule {
	const replaced = "somebody without the right to it wrote this object, or it was exchanged: find out who can write to the store before you rely on it"
	return []rule{
		is(repo.ErrForged, replaced),
		is(repo.ErrUntrusted, replaced),
		say[*repo.DamageError](HowToHeal),
		say[*repo.ObjectError]("the object is damaged or was written by a program that breaks the format; get it back from a copy or an older version of the store"),
		is(repo.ErrUnknownChunk, "an index object is missing or older than the snapshot; get it back from a copy or an older version of the store"),
	}
}

func choiceRules() []rule {
	return []rule{
		as(func(e *snapshot.AmbiguousError) string {
			if len(e.Sources) == 0 {
				return "give more digits; firn snapshots lists them"
			}
			var names []string
			for _, o := range e.Sources {
				name := SourceName(o)
				if slices.ContainsFunc(e.Sources, func(p snapshot.Origin) bool { return p.Kind != o.Kind && SourceName(p) == name }) && o.Name == "" && o.Kind != "dir" {
					name = o.Kind + ":" + name
				}
				if slices.Contains(names, name) {
					return "several hosts have one of that name: choose with --host, or --source and its id; firn source list shows them"
				}
				names = append(names, name)
			}
			return "choose one with --source: " + strings.Join(names, ", ")
		}),
		is(snapshot.ErrNone, "firn snapshots --all lists what is there; one that is partial or unconfirmed is chosen by its id"),
		say[*snapshot.ExprError]("firn snapshots lists what is there"),
		say[*glob.PatternError]("patterns are those of gitignore: *.o, cache/, /top/only, **/deep, !keep"),
		is(browse.ErrNotThere, "firn ls SNAPSHOT lists what is there; paths are as at the source, absolute or relative to it"),
		is(restore.ErrNotThere, "firn ls SNAPSHOT lists what is there; paths are as at the source, absolute or relative to it"),
		is(browse.ErrNotFile, "firn ls lists folders; firn restore brings them back"),
		is(backup.ErrNoHistory, "firn source list shows the sources"),
		is(backup.ErrHasHistory, "choose another name; firn source list shows those in use"),
	}
}

func localRules() []rule {
	return []rule{
		is(syscall.ENOSPC, "make room on that disk, then "+again),
		is(syscall.EDQUOT, "make room on that disk or raise the quota, then "+again),
		is(syscall.EROFS, "choose a folder that can be written"),
		is(fs.ErrNotExist, "check the path"),
		is(fs.ErrPermission, "run firn as a user who may, or change owner and mode"),
		is(os.ErrDeadlineExceeded, again),
	}
}

// SourceName is how a user names a source: its name, or its path.
func SourceName(o snapshot.Origin) string {
	if o.Name != "" {
		return o.Name
	}
	return string(o.Path)
}

// ShellWord is text as one word of a POSIX shell, in quotes where it needs them.
func ShellWord(s string) string {
	if s != "" && s[0] != '-' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,:@%") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
