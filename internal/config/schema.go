package config

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// object is a JSON object.
type object = map[string]any

// Schema is the JSON schema (draft 2020-12) of the configuration, for editors: made of the tables that read it. It accepts what can be read, and more: what does not go together it does not know.
func Schema(kinds []Kind) []byte {
	t := tables()
	named := func(o object) object {
		return object{"type": "object", "additionalProperties": o, "propertyNames": object{"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}}
	}
	top := properties(t.defaults)
	delete(top, "notify")
	for _, k := range t.repository {
		if k.top {
			maps.Copy(top, properties([]key{k}))
		}
	}
	sources := properties(t.source)
	sources["name"] = object{"type": "string", "description": "of a command: what its output is called"}
	sources["path"] = object{"type": "string", "description": "a folder or file"}
	sources["paths"] = object{"type": "array", "items": object{"type": "string"}, "description": "several, each with snapshots of its own"}
	var what []any
	add := func(name, help string) {
		sources[name] = object{"type": "string", "description": help}
		what = append(what, object{"required": []string{name}})
	}
	what = append(what, object{"required": []string{"path"}}, object{"required": []string{"paths"}})
	for _, k := range kinds {
		if k.Name != folder {
			for _, name := range append([]string{k.Name}, k.Others...) {
				add(name, k.What)
			}
		}
	}
	free := object{}
	for _, k := range kinds {
		for _, set := range k.Settings {
			free[set.Name] = object{"type": []string{"string", "boolean", "integer", "array"}, "description": set.Help}
			if _, taken := sources[set.Name]; !taken {
				sources[set.Name] = object{"type": []string{"string", "boolean", "integer", "array"}, "description": k.Name + ": " + set.Help}
			}
		}
	}
	sources["settings"] = closed(free)
	repositories := properties(t.repository)
	repositories["copies"] = named(object{"anyOf": []any{object{"type": "string"}, closed(properties(t.copy))}})
	cycles := properties(t.defaults)
	maps.Copy(cycles, properties(t.cycle))
	cycles["cycle"] = object{"type": "string"}
	top["repository"] = object{"type": "string", "description": "location of the only repository, or the name of the default one"}
	top["include"] = listOf(object{"type": "string"})
	top["defaults"] = closed(properties(t.defaults))
	top["repositories"] = named(closed(repositories))
	one := closed(sources)
	one["oneOf"] = what
	top["sources"] = named(one)
	top["cycles"] = named(closed(cycles))
	top["notify"] = named(closed(properties(t.channel)))
	for name, keys := range map[string][]key{"log": t.log, "metrics": t.metrics, "serve": t.serve, "run": t.run} {
		top[name] = closed(properties(keys))
	}
	all := closed(top)
	all["$schema"], all["title"] = "https://json-schema.org/draft/2020-12/schema", "configuration of firn"
	raw, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		panic(err) // maps of strings always marshal
	}
	return append(raw, '\n')
}

func closed(p object) object {
	return object{"type": "object", "properties": p, "additionalProperties": false}
}

func listOf(item object) object {
	return object{"anyOf": []any{item, object{"type": "array", "items": item}}}
}

// properties describe the keys of a table.
func properties(keys []key) object {
	out := object{}
	for i := range keys {
		k := &keys[i]
		for _, name := range k.names() {
			p := shape(k)
			help := k.help
			if k.form == secret {
				help += ": " + map[string]string{"_file": "file whose first line it is", "_command": "command that prints it", "_env": "variable that holds it"}[strings.TrimPrefix(name, k.name)]
			}
			if k.def != "" {
				help += " (default: " + k.def + ")"
			}
			if len(k.only) > 0 {
				help = strings.Join(k.only, ", ") + ": " + help
			}
			p["description"] = help
			out[name] = p
		}
	}
	return out
}

// shape is what a value looks like.
func shape(k *key) object {
	switch k.form {
	case list, paths:
		return listOf(object{"type": "string"})
	case words:
		return listOf(object{"enum": k.words})
	case word:
		return object{"enum": k.words}
	case yes:
		return object{"type": "boolean"}
	case count:
		n := object{"type": "integer", "minimum": k.least}
		if k.most > 0 {
			n["maximum"] = k.most
		}
		if slices.Contains(k.words, "all") {
			return object{"anyOf": []any{n, object{"type": "string"}}}
		}
		return object{"anyOf": []any{n, object{"type": "string", "pattern": `\$\{|^[0-9]+$`}}}
	case size, percent, money:
		return object{"type": []string{"string", "number"}}
	case policy:
		return object{"anyOf": []any{object{"const": "all"}, closed(properties(k.parts))}}
	case upkeep:
		return object{"anyOf": []any{object{"type": "string"}, object{"const": false}, closed(properties(k.parts))}}
	case lines:
		return object{"type": "object", "additionalProperties": object{"type": "string"}}
	case settings:
		return object{"type": "object"}
	}
	return object{"type": "string"}
}
