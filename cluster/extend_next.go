//go:build roostnext

package cluster

import "bytes"

// extend gives a record, which is an object, a field that no version knows yet. With the tag
// roostnext the program is what a version to come may be, for tests of an upgrade.
func extend(record []byte) []byte {
	rest := bytes.TrimPrefix(record, []byte("{"))
	field := `{"next":{"of":"a version to come"}`
	if !bytes.HasPrefix(rest, []byte("}")) {
		field += ","
	}
	return append([]byte(field), rest...)
}
