package imap

import (
	"strings"
	"testing"
)

func TestCheckMetadataName(t *testing.T) {
	for name, want := range map[string]string{
		"/private/comment": "/private/comment", "/SHARED/Vendor/x": "/shared/vendor/x", "/shared": "/shared",
		"/shared/" + strings.Repeat("x", MaxMetadataName-8): "/shared/" + strings.Repeat("x", MaxMetadataName-8),
		"": "", "/": "", "private/x": "", "/private/": "", "/private//x": "", "/shared/a*": "", "/shared/a%b": "",
		"/shared/\x01": "", "/shared/ü": "", "/sharedx/a": "", "/other/a": "", "/shared/" + strings.Repeat("x", MaxMetadataName-7): "",
	} {
		got, err := CheckMetadataName(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
}

func FuzzMetadataQuery(f *testing.F) {
	f.Add("/shared/a", "/shared/a/b", 1)
	f.Add("/private", "/private/a/b/c", -1)
	f.Fuzz(func(t *testing.T, want, name string, depth int) {
		want, err := CheckMetadataName(want)
		if err != nil {
			return
		}
		if name, err = CheckMetadataName(name); err != nil {
			return
		}
		q := &MetadataQuery{Names: []string{want, want}, Depth: max(depth, -1) % 2, MaxSize: 3}
		found := q.Select([]MetadataEntry{{name, []byte("1234")}, {name + "/x", []byte("1")}})
		for _, e := range found.Entries {
			if len(e.Value) > 3 || e.Value != nil && e.Name != want && !strings.HasPrefix(e.Name, want+"/") {
				t.Errorf("%q at %d of %q: %+v", want, depth, name, found)
			}
		}
		if q.Matches(name) != (found.Longest == 4) {
			t.Errorf("%q at %d of %q: longest is %d", want, depth, name, found.Longest)
		}
	})
}
