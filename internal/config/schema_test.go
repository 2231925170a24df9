package config

import (
	"fmt"
	"regexp"
	"strconv"
	"unicode/utf8"
)

// plainOf reads a document as the values that a schema speaks of.
func plainOf(text string) any {
	root := &node{kind: isTable}
	read("f", []byte(text), root, &problems{})
	return plain(root)
}

func plain(n *node) any {
	switch n.kind {
	case isTable:
		m := map[string]any{}
		for name, c := range n.of {
			m[name] = plain(c)
		}
		return m
	case isArray:
		list := []any{}
		for _, c := range n.items {
			list = append(list, plain(c))
		}
		return list
	case isInteger, isFloat:
		f, _ := strconv.ParseFloat(n.text, 64)
		return f
	case isBool:
		return n.text == "true"
	}
	return n.text
}

// conforms holds a value to a schema, as far as ours uses the language.
func conforms(schema map[string]any, v any, at string) error {
	if err := typed(schema["type"], v); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if c, ok := schema["const"]; ok && c != v {
		return fmt.Errorf("%s: %v, want %v", at, v, c)
	}
	if list, ok := schema["enum"].([]any); ok {
		found := false
		for _, one := range list {
			found = found || one == v
		}
		if !found {
			return fmt.Errorf("%s: %v, want one of %v", at, v, list)
		}
	}
	if f, ok := v.(float64); ok {
		if least, ok := schema["minimum"].(float64); ok && f < least {
			return fmt.Errorf("%s: %v is less than %v", at, f, least)
		}
		if most, ok := schema["maximum"].(float64); ok && f > most {
			return fmt.Errorf("%s: %v is more than %v", at, f, most)
		}
	}
	if s, ok := v.(string); ok {
		if p, ok := schema["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(s) || !utf8.ValidString(s) {
			return fmt.Errorf("%s: %q does not match", at, s)
		}
	}
	for _, word := range []string{"anyOf", "oneOf"} {
		list, ok := schema[word].([]any)
		if !ok {
			continue
		}
		fit, last := 0, error(nil)
		for _, one := range list {
			if err := conforms(one.(map[string]any), v, at); err != nil {
				last = err
			} else {
				fit++
			}
		}
		if fit == 0 || word == "oneOf" && fit != 1 {
			return fmt.Errorf("%s: %d of %s fit (%w)", at, fit, word, last)
		}
	}
	switch v := v.(type) {
	case []any:
		if items, ok := schema["items"].(map[string]any); ok {
			for _, item := range v {
				if err := conforms(items, item, at); err != nil {
					return err
				}
			}
		}
	case map[string]any:
		return members(schema, v, at)
	}
	return nil
}

func members(schema, v map[string]any, at string) error {
	if list, ok := schema["required"].([]any); ok {
		for _, name := range list {
			if _, ok := v[name.(string)]; !ok {
				return fmt.Errorf("%s: %v is missing", at, name)
			}
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, member := range v {
		if names, ok := schema["propertyNames"].(map[string]any); ok {
			if err := conforms(names, name, at); err != nil {
				return err
			}
		}
		of, ok := properties[name].(map[string]any)
		if !ok {
			switch more := schema["additionalProperties"].(type) {
			case bool:
				return fmt.Errorf("%s: no member %q", at, name)
			case map[string]any:
				of = more
			}
		}
		if of != nil {
			if err := conforms(of, member, at+"."+name); err != nil {
				return err
			}
		}
	}
	return nil
}

func typed(want, v any) error {
	if list, ok := want.([]any); ok {
		for _, one := range list {
			if typed(one, v) == nil {
				return nil
			}
		}
		return fmt.Errorf("%v is none of %v", v, list)
	}
	ok := true
	switch want {
	case "object":
		_, ok = v.(map[string]any)
	case "array":
		_, ok = v.([]any)
	case "string":
		_, ok = v.(string)
	case "boolean":
		_, ok = v.(bool)
	case "number", "integer":
		_, ok = v.(float64)
	}
	if !ok {
		return fmt.Errorf("%v is no %v", v, want)
	}
	return nil
}
