// Package repo is the sole owner of object names, commit order, keys and the format version (docs/FORMAT.md). It makes and opens
// repositories, keeps the index, and offers two ways through: a Writer, into which a backup puts chunks and which publishes them as a
// snapshot in the order that survives a crash at any point, and a Reader, which brings chunks back with few, coalesced requests.
//
// Locking: a Repository may be used by many goroutines. Its mutex guards what is loaded lazily (scopes, certificates); it is never held
// during a request to the store. Writer and Reader say their own rules.
package repo

import (
	"encoding/hex"
	"fmt"
	"strings"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/keys"
)

// Names of plain objects.
const (
	configName   = "firn.json"
	recoverText  = "RECOVER.md"
	recoverName  = "recover.py"
	keysPrefix   = "keys/"
	hostsPrefix  = "hosts/"
	prunePrefix  = "prune/"
	revokeSuffix = ".revoked"
	doneSuffix   = ".done"
)

// packName is the object name of a pack.
func packName(kind chunk.Kind, scope keys.ScopeID, name digest.Object) string {
	hexName := name.String()
	return kind.String() + "/" + scope.String() + "/" + hexName[:2] + "/" + hexName
}

// DataPrefix is what the names of the packs of file content of a scope begin with.
func DataPrefix(scope keys.ScopeID) string { return chunk.Data.String() + "/" + scope.String() + "/" }

func indexPrefix(scope keys.ScopeID) string    { return "index/" + scope.String() + "/" }
func packsetPrefix(scope keys.ScopeID) string  { return "packset/" + scope.String() + "/" }
func snapshotPrefix(scope keys.ScopeID) string { return "snapshots/" + scope.String() + "/" }
func statePrefix(host string) string           { return "state/" + host + "/" }

// genName is "<gen>-<sha256>", the last part of names that sort by time.
func genName(gen uint64, sum digest.Object) string { return fmt.Sprintf("%016x-%s", gen, sum) }

// parseGen takes a name made by genName apart; prefix may stand before it.
func parseGen(name string) (gen uint64, sum digest.Object, err error) {
	base := name[strings.LastIndexByte(name, '/')+1:]
	genText, sumText, ok := strings.Cut(base, "-")
	raw, err := hex.DecodeString(genText)
	if !ok || err != nil || len(raw) != 8 {
		return 0, sum, fmt.Errorf("object name %q: want <gen>-<sha256>", name)
	}
	for _, b := range raw {
		gen = gen<<8 | uint64(b)
	}
	sum, err = digest.ParseObject(sumText)
	return gen, sum, err
}
