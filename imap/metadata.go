package imap

import (
	"slices"
	"strings"
)

// Bounds of metadata (RFC 5464 section 4.1 asks for 1024 bytes and 10 entries
// at least).
const (
	MaxMetadataValue   = 32 << 10 // bytes of a value
	MaxMetadataEntries = 100      // of one mailbox: shared ones, and private ones of one user
	MaxMetadataName    = 255      // bytes of an entry's name
)

// MetadataSpecialUse is the entry that holds a mailbox's special uses (RFC 6154
// section 4).
const MetadataSpecialUse = "/private/specialuse"

// MetadataPrivateFlags is the entry that says whether a mailbox's readers have \Seen
// and other private flags for themselves: "private" or "shared". Mailboxes below
// that have none of their own follow it.
const MetadataPrivateFlags = "/shared/vendor/roost/seen"

// MetadataEntry is an annotation of a mailbox or, for the mailbox name "", of the
// server. Name is in lower case, as CheckMetadataName gives it. A nil Value is
// NIL: there is none.
type MetadataEntry struct {
	Name  string
	Value []byte
}

// CheckMetadataName brings an entry's name into its one form: names do not
// depend on the case of letters. An invalid name is BAD (RFC 5464 section 3.2).
func CheckMetadataName(name string) (string, error) {
	bad := name == "" || name[0] != '/' || len(name) > MaxMetadataName || strings.HasSuffix(name, "/") || strings.Contains(name, "//") ||
		strings.ContainsFunc(name, func(r rune) bool { return r <= 0x19 || r >= 0x7f || r == '*' || r == '%' })
	name = strings.ToLower(name)
	if !bad {
		switch scope, _, _ := strings.Cut(name[1:], "/"); scope {
		case "private", "shared":
			return name, nil
		}
	}
	return "", BadCommand("Invalid entry name")
}

// MetadataIsPrivate reports whether each user has an entry of that name for
// themselves.
func MetadataIsPrivate(name string) bool {
	return name == "/private" || strings.HasPrefix(name, "/private/")
}

// MetadataDepthAll is DEPTH infinity.
const MetadataDepthAll = -1

// MetadataQuery is what a GETMETADATA asks for.
type MetadataQuery struct {
	Names   []string // in lower case
	Depth   int      // 0, 1 or MetadataDepthAll: levels below Names (RFC 5464 section 4.2.2)
	MaxSize int64    // bytes of a value that is to be left out if it has more; less than 0: none is
}

// MetadataFound answers a MetadataQuery. An entry that was named itself and
// does not exist is there with a nil Value if Depth is 0.
type MetadataFound struct {
	Entries []MetadataEntry
	Longest int64 // bytes of the longest value that MaxSize left out, 0 without
}

// Matches reports whether the query asks for an entry of that name.
func (q *MetadataQuery) Matches(name string) bool {
	return slices.ContainsFunc(q.Names, func(want string) bool {
		rest, below := strings.CutPrefix(name, want)
		switch {
		case !below:
			return false
		case rest == "":
			return true
		case rest[0] != '/' || q.Depth == 0:
			return false
		}
		return q.Depth == MetadataDepthAll || !strings.Contains(rest[1:], "/")
	})
}

// Select answers the query from all entries there are.
func (q *MetadataQuery) Select(all []MetadataEntry) MetadataFound {
	var found MetadataFound
	seen := make(map[string]bool)
	for _, e := range all {
		if !q.Matches(e.Name) {
			continue
		}
		seen[e.Name] = true
		if size := int64(len(e.Value)); q.MaxSize >= 0 && size > q.MaxSize {
			found.Longest = max(found.Longest, size)
			continue
		}
		found.Entries = append(found.Entries, e)
	}
	for _, name := range q.Names {
		if q.Depth == 0 && !seen[name] {
			seen[name] = true
			found.Entries = append(found.Entries, MetadataEntry{Name: name})
		}
	}
	return found
}

// ParseSpecialUses reads the value of MetadataSpecialUse: attributes with spaces
// between them. A nil value is none.
func ParseSpecialUses(value []byte) ([]Attr, error) {
	var uses []Attr
	for _, word := range strings.Fields(string(value)) {
		use, err := CheckSpecialUse(word)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(uses, use) {
			uses = append(uses, use)
		}
	}
	return uses, nil
}

// CheckSpecialUse refuses what is no use that a mailbox can be given: \All and
// \Flagged are views of other mailboxes (RFC 6154 section 3).
func CheckSpecialUse(s string) (Attr, error) {
	use, ok := SpecialUse(s)
	if !ok || use == `\All` || use == `\Flagged` {
		return "", Errorf(CodeUseAttr, "A mailbox can't have this use")
	}
	return use, nil
}

// FormatSpecialUses is the value of MetadataSpecialUse, nil for none.
func FormatSpecialUses(uses []Attr) []byte {
	var value []byte
	for i, use := range uses {
		if i > 0 {
			value = append(value, ' ')
		}
		value = append(value, use...)
	}
	return value
}
