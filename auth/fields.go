package auth

import (
	"errors"
	"fmt"
	"maps"
	"strings"
)

// Fields are the extra fields of a passdb or userdb entry. A bare word has the
// value "yes".
type Fields map[string]string

// Flag says whether a yes/no field is set; "no", "n", "false" and "0" unset it.
func (f Fields) Flag(name string) bool {
	value, ok := f[name]
	switch lowerASCII(value) {
	case "no", "n", "false", "0":
		return false
	}
	return ok
}

// field is one field as written, before its % variables are replaced.
type field struct{ name, template string }

// parseFields splits "a=b c d=e" at blanks. Splitting comes before variables are
// replaced, so that a user name can never bring a field of its own.
func parseFields(s string) ([]field, error) {
	var fields []field
	for word := range strings.FieldsSeq(s) {
		name, value, found := strings.Cut(word, "=")
		if name == "" {
			return nil, fmt.Errorf("field without a name")
		}
		if !found {
			value = "yes"
		}
		fields = append(fields, field{name, value})
	}
	return fields, nil
}

// expandFields adds fields to into; of equal names the last one wins.
func expandFields(into Fields, fields []field, expand Expand, value Value) error {
	for _, f := range fields {
		text, err := expand(f.template, value)
		if err != nil && f.name == "password" {
			err = errors.New("unknown variable; write %% for a percent sign") // the other error would quote it
		}
		if err != nil {
			return fmt.Errorf("field %s: %w", f.name, err)
		}
		into[f.name] = text
	}
	return nil
}

const userPrefix = "userdb_"

// splitUser takes the userdb_ fields out of a passdb's fields, and returns them
// without the prefix; nil if there are none.
func splitUser(all Fields) (user Fields) {
	for name, value := range all {
		if short, ok := strings.CutPrefix(name, userPrefix); ok {
			if user == nil {
				user = Fields{}
			}
			user[short] = value
			delete(all, name)
		}
	}
	return user
}

// overlay is under with the fields of over laid upon it. It may be either of them.
func overlay(under, over Fields) Fields {
	if len(under) == 0 {
		return over
	}
	maps.Copy(under, over)
	return under
}

// groups is the field acl_groups: names separated by commas.
func groups(user Fields) []string {
	var list []string
	for name := range strings.SplitSeq(user["acl_groups"], ",") {
		if name = strings.TrimSpace(name); name != "" {
			list = append(list, name)
		}
	}
	return list
}

// merge is all fields; where names are equal the later argument wins.
func merge(layers ...Fields) Fields {
	out := Fields{}
	for _, layer := range layers {
		maps.Copy(out, layer)
	}
	return out
}
