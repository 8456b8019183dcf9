package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expected results")

// golden compares got with the file at path, or writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run the test with -update and read the change. Got:\n%s", path, got)
	}
}

// TestMessages holds the errors and warnings of every file in testdata to the
// text beside it.
func TestMessages(t *testing.T) {
	for _, path := range confs(t) {
		t.Run(path, func(t *testing.T) {
			s, warnings, err := Load(path)
			var b strings.Builder
			if err != nil {
				fmt.Fprintf(&b, "%v\n", err)
			}
			for _, w := range warnings {
				fmt.Fprintf(&b, "warning: %s\n", w)
			}
			golden(t, strings.TrimSuffix(path, ".conf")+".want", b.String())
			if (s == nil) != (err != nil) {
				t.Errorf("Load gives settings %v with error %v", s != nil, err)
			}
		})
	}
}

func confs(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, pattern := range []string{"testdata/*.conf", "testdata/rig/*.conf"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("no files match %s: %v", pattern, err)
		}
		paths = append(paths, found...)
	}
	return paths
}

// mustLoad loads a configuration that has no errors.
func mustLoad(t testing.TB, path string) *Settings {
	t.Helper()
	s, _, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mustParse loads text as a configuration file.
func mustParse(t testing.TB, text string) *Settings {
	t.Helper()
	return mustLoad(t, writeConf(t, text))
}

func writeConf(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "roost.conf")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLimits: what is too large, too deep or not text is an error, not a load.
func TestLimits(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"large", strings.Repeat("# comment\n", maxFile/10+1), "larger than"},
		{"NUL", "a\nb\x00c", ":2: a NUL byte"},
		{"deep", strings.Repeat("namespace x {\n", 100), "more than 8 deep"},
		{"unclosed", "service x {\n", `:1: the block "service x {" that begins here has no "}"`},
		{"errors", strings.Repeat("x\n", 1000), ":100:"},
		{"growth", "instance_name = xxxxxxxx\n" + strings.Repeat("instance_name = $instance_name $instance_name\n", 30), "larger than"},
		{"values", "instance_name = " + strings.Repeat("x", 60000) + "\ndict {\n" + numbered("a%d = $instance_name x\n", 1000) + "}\n", "the values together"},
		{"blocks", numbered("service own%d {\n}\n", 5000), "more than 4096 blocks"},
		{"environment", "instance_name = $ENV:ROOST_TEST_LINES\n", "line break"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("ROOST_TEST_LINES", "a\nb")
			_, _, err := Load(writeConf(t, c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want an error with %q", err, c.want)
			}
			if n := len(err.(Errors)); n > maxProblems {
				t.Errorf("%d errors", n)
			}
		})
	}
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// TestIncludeDepth: files include one another to a limit.
func TestIncludeDepth(t *testing.T) {
	dir := t.TempDir()
	for i := range 30 {
		text := fmt.Sprintf("!include %d.conf\n", i+1)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.conf", i)), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := Load(filepath.Join(dir, "0.conf"))
	if err == nil || !strings.Contains(err.Error(), "more than 16 deep") {
		t.Errorf("got %v", err)
	}
}

// TestFileForms: a byte order mark and CR LF are no part of values.
func TestFileForms(t *testing.T) {
	s := mustParse(t, "\ufeffinstance_name = x\r\nmail_home = /y \\\r\n z\r\n")
	if s.General.InstanceName != "x" || s.Mail.Home != "/y z" {
		t.Errorf("%q, %q", s.General.InstanceName, s.Mail.Home)
	}
}

// BenchmarkLoad measures parsing, without the disk.
func BenchmarkLoad(b *testing.B) {
	text, err := os.ReadFile("testdata/rig/plain-be1.conf")
	if err != nil {
		b.Fatal(err)
	}
	values := strings.Repeat("imapc_host = 127.0.1.1 # a comment\nmail_plugins = $mail_plugins\n\n", 10000)
	for _, c := range []struct{ name, text string }{{"backend", string(text)}, {"lines", values}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := load(noSource{c.text}, "f"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
