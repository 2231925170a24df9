package advice

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"testing"

	"firn/internal/backup"
	"firn/internal/doctor"
	"firn/internal/format"
	"firn/internal/glob"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/program"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/source/command"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/s3"
	"firn/internal/thaw"
	"firn/internal/wire"
)

// TestHints holds every kind of bad input to a hint with the word that helps.
func TestHints(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"not a repository":    {repo.ErrNoRepository, "firn init"},
		"made already":        {repo.ErrExists, "firn backup"},
		"not empty":           {repo.ErrNotEmpty, "prefix"},
		"no key":              {repo.ErrNoKey, "--identity"},
		"other repository":    {repo.ErrWrongKey, "--repo"},
		"write-only":          {repo.ErrWriteOnly, "FIRN_PASSPHRASE"},
		"last key":            {repo.ErrLastKey, "firn keys add"},
		"newer format":        {&format.NewerFormatError{Format: 2}, "update firn"},
		"unknown feature":     {&format.UnknownFeatureError{Features: []string{"x"}}, "update firn"},
		"newer snapshot":      {&repo.ObjectError{Name: "snapshots/x", Err: &snapshot.VersionError{Version: 2}}, "update firn"},
		"newer key":           {&keys.VersionError{What: "key file", Version: 2}, "update firn"},
		"firn.json":           {&repo.ObjectError{Name: "firn.json", Err: &format.FieldError{Field: "id", Reason: "is zero"}}, "RECOVER.md"},
		"wrong bucket":        {store.ErrNoStore, "bucket's name"},
		"wrong credentials":   {&s3.Error{Code: "InvalidAccessKeyId", Reason: store.ErrAuth, Cause: errors.New("x")}, "AWS_ACCESS_KEY_ID"},
		"clock":               {&s3.Error{Code: "RequestTimeTooSkewed", Reason: store.ErrClock, Cause: errors.New("x")}, "clock"},
		"other region":        {&s3.Error{Reason: s3.ErrRegion, Region: "eu-west-1", Cause: errors.New("x")}, "--region eu-west-1"},
		"some region":         {&s3.Error{Reason: s3.ErrRegion, Cause: errors.New("x")}, "--region"},
		"denied":              {store.ErrDenied, "list, read and create"},
		"full":                {store.ErrFull, "goes on where it stopped"},
		"read-only":           {store.ErrReadOnly, "writable"},
		"hang":                {&s3.Error{Reason: store.ErrTimeout, Cause: errors.New("x")}, "network"},
		"cold":                {store.ErrCold, "what that costs"},
		"budget":              {&thaw.BudgetError{Max: 1, Needed: 2}, "--max-cost"},
		"busy job":            {&thaw.BusyError{ID: "1f", PID: 42}, "process 42 is at it: firn thaw show 1f"},
		"no job":              {&thaw.NoJobError{ID: "1f"}, "firn thaw list"},
		"ended job":           {&thaw.EndedError{ID: "1f", State: thaw.Done}, "firn thaw list"},
		"gone":                {&thaw.LeftError{Missing: 1}, "--full"},
		"may not thaw":        {&thaw.LeftError{Refused: 1, First: &store.Error{Op: "thaw", Name: "data/x", Err: store.ErrDenied}}, "s3:RestoreObject"},
		"no such tier":        {store.ErrTier, "--tier"},
		"no capacity":         {store.ErrNoCapacity, "--tier standard"},
		"on its way":          {store.ErrThawing, "later"},
		"expired":             {&s3.Error{Code: "ExpiredToken", Reason: store.ErrAuth, Cause: errors.New("x")}, "log in again"},
		"poor server":         {store.ErrUnsupported, "firn doctor"},
		"no price":            {&price.UnknownError{What: "region", Name: "eu-wst-1", Nearest: []string{"eu-west-1"}}, "was eu-west-1 meant?"},
		"prices":              {&price.ParseError{Line: 3, Err: price.ErrUnknownKey}, "TOML"},
		"rules":               {doctor.ErrDocument, "get-bucket-lifecycle-configuration"},
		"damaged on its way":  {store.ErrChecksum, "memory"},
		"no such server":      {&net.DNSError{Err: "no such host", Name: "x"}, "--endpoint"},
		"nothing listens":     {&net.OpError{Op: "dial", Err: errors.New("refused")}, "--endpoint"},
		"damaged object":      {&repo.ObjectError{Name: "index/x", Err: errors.New("malformed")}, "copy"},
		"forged":              {&repo.ObjectError{Name: "index/x", Err: repo.ErrForged}, "who can write"},
		"missing index":       {repo.ErrUnknownChunk, "index"},
		"no such snapshot":    {snapshot.ErrNone, "firn snapshots"},
		"ambiguous id":        {&snapshot.AmbiguousError{Expr: "a", IDs: []snapshot.ID{{}, {}}}, "more digits"},
		"several sources":     {&snapshot.AmbiguousError{Expr: "latest", Sources: []snapshot.Origin{{Name: "a"}, {Path: []byte("/b")}}}, "--source: a, /b"},
		"same path":           {&snapshot.AmbiguousError{Expr: "latest", Sources: []snapshot.Origin{{Path: []byte("/b")}, {Path: []byte("/b")}}}, "--host"},
		"locked":              {&state.HeldError{PID: 42}, "process 42"},
		"open to others":      {&state.ModeError{Path: "/a b/host.key", Mode: 0o644}, "chmod 600 '/a b/host.key'"},
		"same path, kinds":    {&snapshot.AmbiguousError{Expr: "latest", Sources: []snapshot.Origin{{Kind: "mysql", Path: []byte("all")}, {Kind: "postgres", Path: []byte("all")}, {Kind: "dir", Path: []byte("/b")}}}, "--source: mysql:all, postgres:all, /b"},
		"pattern":             {&glob.PatternError{Reason: "x"}, "gitignore"},
		"secret as recipient": {&keys.RecipientError{Err: keys.ErrSecretGiven}, "age-keygen -y"},
		"classic recipient":   {&keys.ClassicRecipientError{Type: keys.TypeX25519}, "age1pq1"},
		"missing file":        {&fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}, "path"},
		"no such kind":        {&wire.KindError{Spec: "zsf:x", Kind: "zsf", Nearest: "zfs"}, "was zfs meant?"},
		"no kind like it":     {&wire.KindError{Spec: "x:y", Kind: "x"}, "firn source kinds"},
		"no such setting":     {&source.SettingError{Name: "tmp_dir", Nearest: "temp_dir"}, "was temp_dir meant?"},
		"no setting like it":  {&source.SettingError{Name: "x"}, "firn source kinds"},
		"no program":          {&source.ProgramError{Program: "zfs", Err: errors.New("x")}, "PATH"},
		"program failed":      {&source.ProducerError{Program: "zfs", Err: errors.New("x")}, "by hand"},
		"no password":         {&source.ProducerError{Program: "psql", Stderr: "fe_sendauth: no password supplied", Err: errors.New("x")}, "~/.pgpass"},
		"no server":           {&source.ProducerError{Program: "mariadb", Stderr: "ERROR 2002 (HY000): Can't connect to local server", Err: errors.New("x")}, "is up"},
		"hook before":         {&program.HookError{When: "before", Err: &source.ProducerError{Program: "x", Err: errors.New("x")}}, "nothing was backed up"},
		"hook after":          {&program.HookError{When: "after", Err: &source.ProducerError{Program: "x", Err: errors.New("x")}}, "by hand"},
		"no dataset":          {&source.MissingError{What: "dataset", Name: "x"}, "name"},
		"read twice":          {source.ErrOnce, "--command"},
		"no room":             {&program.SpaceError{Dir: "/tmp"}, "temp_dir"},
		"no temporary file":   {&program.TempError{Dir: "/tmp", Err: errors.New("x")}, "temp_dir"},
		"name of a stream":    {&command.NameError{Name: "/x"}, "--name"},
		"no command":          {command.ErrNoCommand, "--name"},
		"renamed chain":       {backup.ErrChained, "--full"},
		"shrunk":              {&backup.ShrinkError{LastFiles: 1}, "--max-shrink 100%"},
		"base":                {&backup.BaseError{Err: errors.New("x")}, "--full"},
		"no permission":       {&fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}, "owner and mode"},
	} {
		wrapped := fmt.Errorf("while testing: %w", &store.Error{Op: "get", Name: "x", Err: c.err})
		for _, err := range []error{c.err, wrapped, errors.Join(errors.New("first"), wrapped)} {
			hint := Hint(err)
			if !strings.Contains(hint, c.want) {
				t.Errorf("%s: hint for %v is %q, want %q in it", name, err, hint, c.want)
			}
			if strings.HasSuffix(hint, ".") || strings.Contains(hint, "\n") {
				t.Errorf("%s: hint %q is not one line without a full stop", name, hint)
			}
			if Code(err) != Failed {
				t.Errorf("%s: code %d", name, Code(err))
			}
		}
	}
}

// TestColdPack: a pack in a cold class is another matter than a hot object in one.
func TestColdPack(t *testing.T) {
	err := fmt.Errorf("while testing: %w", &store.Error{Op: "get", Name: "data/1/2/3", Err: store.ErrCold})
	if hint := Hint(err); !strings.Contains(hint, "firn restore --plan") || strings.Contains(hint, "metadata") {
		t.Error(hint)
	}
	if hint := Hint(store.ErrCold); !strings.Contains(hint, "firn restore --plan") {
		t.Error(hint)
	}
}

func TestOwnErrors(t *testing.T) {
	cause := &store.Error{Op: "put", Name: "x", Err: store.ErrFull}
	for _, c := range []struct {
		err        error
		code       int
		text, hint string
	}{
		{nil, Done, "", ""},
		{errors.New("x"), Failed, "x", ""},
		{&Error{Text: "a", Hint: "b"}, Failed, "a", "b"},
		{&Error{Text: "a", Hint: "b", Code: Usage}, Usage, "a", "b"},
		{&Error{Err: cause}, Failed, cause.Error(), Hint(cause)},
		{&Error{Text: "a", Err: cause}, Failed, "a", Hint(cause)},
		{fmt.Errorf("x: %w", &Error{Text: "a", Code: Usage, Err: cause}), Usage, "x: a", ""},
		{&Error{Code: Incomplete}, Incomplete, "", ""},
	} {
		if Code(c.err) != c.code || Hint(c.err) != c.hint || c.err != nil && c.err.Error() != c.text {
			t.Errorf("%#v: code %d, hint %q, text %v", c.err, Code(c.err), Hint(c.err), c.err)
		}
	}
}
