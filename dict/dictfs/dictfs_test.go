package dictfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/dict/dicttest"
)

func TestConformance(t *testing.T) {
	dicttest.TestHome(t, dicttest.Home{
		Flat: true, LongestKey: 3500,
		Fresh: func(t *testing.T) func() dict.Dict {
			dir := filepath.Join(t.TempDir(), "new", "dict")
			return func() dict.Dict { return Open(dir, Options{}) }
		},
	})
}

func TestDovecot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dict")
	peer := dicttest.NewDoveadm(t, "fs:posix:prefix="+dir+"/")
	d := Open(dir, Options{})
	defer d.Close() //nolint:errcheck // nothing is lost
	dicttest.TestDovecot(t, d, peer, []string{
		"shared/shared-boxes/user/bob/alice", "shared/a b/é", "shared/tab\there", "shared/" + dict.Escape("a/b\n%"),
		"shared/.", "shared/x/..", "shared/x/.../y", "shared/x/.y", "shared/..../....", "shared/" + strings.Repeat("n", 230),
	})
}

var errFault = errors.New("as the test wants it")

// A commit that stops after any step is completed by whoever comes next.
func TestCutInTheMiddle(t *testing.T) {
	const keys = 5
	for stop := range keys + 2 {
		dir := t.TempDir()
		steps := 0
		broken := &driver{dir: dir, fault: func(string) error {
			if steps++; steps > stop {
				return errFault
			}
			return nil
		}}
		var changes []dict.Change
		for i := range keys {
			changes = append(changes, dict.Set(fmt.Sprintf("shared/x/%d", i), "1"))
		}
		err := broken.Commit(t.Context(), changes, nil)
		if want := stop <= keys; errors.Is(err, errFault) != want {
			t.Fatalf("stop after %d steps: %v", stop, err)
		}
		d := Open(dir, Options{})
		n := 0
		if err := d.Iterate(t.Context(), dict.Root, func(string, string) error { n++; return nil }); err != nil || n != keys {
			t.Errorf("stop after %d steps: %d keys, %v", stop, n, err)
		}
		if _, err := os.Stat(filepath.Join(dir, journalName)); err == nil {
			t.Error("the journal is still there")
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What is removed leaves no directories behind, and what is no key is not shown.
func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	d := Open(dir, Options{})
	defer d.Close() //nolint:errcheck // nothing is lost
	long := "shared/long/" + strings.Repeat("é", 400) + "/x"
	for _, key := range []string{"shared/a/b/c", long} {
		if err := d.Commit(t.Context(), []dict.Change{dict.Set(key, "1")}); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]os.FileMode{"a": 0o770, "a/b/c": 0o660} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", name, st.Mode(), err, want)
		}
	}
	for _, name := range []string{".temp.dovecot.host.1", "temp.dovecot.host.1", ".roost-new-1"} {
		if err := os.WriteFile(filepath.Join(dir, "a", name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	if err := d.Iterate(t.Context(), dict.Root, func(key, _ string) error { got = append(got, key); return nil }); err != nil {
		t.Fatal(err)
	}
	if strings.Join(got, " ") != "shared/a/b/c "+long {
		t.Errorf("keys %q", got)
	}
	if err := d.Commit(t.Context(), []dict.Change{dict.Unset(long)}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "long")); err == nil {
		t.Error("the directories of a removed key are still there")
	}
	for _, key := range []string{"shared/.roost-x", "shared/a/temp.dovecot.x", "shared//x", "shared/a/"} {
		if err := d.Commit(t.Context(), []dict.Change{dict.Set(key, "1")}); !errors.Is(err, dict.ErrInvalid) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestParseURI(t *testing.T) {
	for uri, want := range map[string]string{
		"fs:posix:prefix=/srv/d/": "/srv/d 0", "fs:posix:mode=0660:prefix=/srv/d": "/srv/d 660", "fs:posix:dirs:prefix=/x": "/x 0",
		"fs:posix:": "", "fs:posix:prefix=x": "", "fs:posix:prefix=/x:mode=7777": "", "fs:posix:prefix=/x:sync": "", "fs:sis:prefix=/x": "",
	} {
		dir, opt, err := ParseURI(uri)
		if got := fmt.Sprintf("%s %o", dir, opt.Mode); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%s: %q, %v; want %q", uri, got, err, want)
		}
	}
}

// Names become keys again, and no two keys have one name.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"a/b", ".", "a/..", "...", strings.Repeat("x", 300), strings.Repeat(".", 256), strings.Repeat("x", 239) + "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key := dict.Root + s
		if dict.CheckKey(key) != nil {
			return
		}
		p, err := path(key)
		if err != nil {
			return
		}
		back := ""
		for _, name := range strings.Split(p, "/") {
			part, whole := extend(name)
			if name == "." || name == ".." || name == "" || len(name) > maxName {
				t.Fatalf("%q became the name %q", s, name)
			}
			back += part
			if whole {
				back += "/"
			}
		}
		if strings.TrimSuffix(back, "/") != s {
			t.Fatalf("%q became %q became %q", s, p, back)
		}
	})
}

func FuzzJournal(f *testing.F) {
	f.Add(`[{"Key":"shared/a","Value":"1"},{"Key":"shared/b","Unset":true}]`)
	f.Fuzz(func(t *testing.T, s string) {
		changes, err := decode(s)
		if err != nil {
			return
		}
		text, err := encode(changes)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decode(text); err != nil || len(again) != len(changes) {
			t.Fatalf("%q: %v", s, err)
		}
	})
}
