package restore

import (
	"slices"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/repo"
)

// packNumbers gives packs small numbers, slots, in the order in which they are asked for. The numbers of the index may name one pack several times.
type packNumbers struct {
	scope  *repo.ScopeState
	slots  []int32 // by number in the index; 0: none yet, else slot + 1
	byName map[digest.Object]int32
	infos  []packInfo // by slot
}

type packInfo struct {
	name   digest.Object
	kind   chunk.Kind
	class  string
	size   int64
	chunks int
}

// slot returns the slot of the pack with that number in the index. Errors are those of the index.
func (p *packNumbers) slot(number int) (int, error) {
	if number < len(p.slots) && p.slots[number] != 0 {
		return int(p.slots[number]) - 1, nil
	}
	info, err := p.scope.Set().Pack(number)
	if err != nil {
		return 0, err
	}
	at, ok := p.byName[info.Name]
	if !ok {
		if p.byName == nil {
			p.byName = map[digest.Object]int32{}
		}
		at = int32(len(p.infos))
		p.byName[info.Name] = at
		if n := len(p.infos); n > 0 && p.infos[n-1].class == info.Class {
			info.Class = p.infos[n-1].class // one string for all
		}
		p.infos = append(p.infos, packInfo{info.Name, info.Kind, info.Class, info.Size, info.Count})
	}
	if number >= len(p.slots) {
		p.slots = slices.Grow(p.slots, number+1-len(p.slots))[:number+1]
	}
	p.slots[number] = at + 1
	return int(at), nil
}
