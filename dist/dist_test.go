package dist

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// read is a file of this directory.
func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestContainerfile: what it copies from here exists, and what it runs was copied.
func TestContainerfile(t *testing.T) {
	text := strings.ReplaceAll(read(t, "Containerfile"), "\\\n", " ")
	stages := strings.Split(text, "\nFROM ")
	if len(stages) != 3 {
		t.Fatalf("%d stages", len(stages)-1)
	}
	build, image := stages[1], stages[2]
	var there []string
	for _, stage := range stages[1:] {
		for _, m := range regexp.MustCompile(`(?m)^COPY (.*)$`).FindAllStringSubmatch(stage, -1) {
			words := strings.Fields(m[1])
			from := slices.Contains(words, "--from=build")
			words = slices.DeleteFunc(words, func(w string) bool { return strings.HasPrefix(w, "--") })
			for _, src := range words[:len(words)-1] {
				made := strings.Contains(build, src) || src == "/etc/ssl/certs/ca-certificates.crt"
				if _, err := os.Stat(filepath.Join("..", src)); !from && err != nil || from && !made {
					t.Errorf("COPY %s: there is no such file", src)
				}
			}
			there = append(there, words[len(words)-1])
		}
	}
	for _, word := range regexp.MustCompile(`"(/[^"]+)"`).FindAllStringSubmatch(image, -1) {
		if !slices.Contains(there, word[1]) {
			t.Errorf("%s is used and not copied", word[1])
		}
	}
	if !regexp.MustCompile(`(?m)^USER [1-9]`).MatchString(image) {
		t.Error("it runs as root")
	}
}

// TestScriptsLeaveMailAlone: what is run at installing and removing deletes nothing,
// starts nothing, and changes no owner but that of the configuration.
func TestScriptsLeaveMailAlone(t *testing.T) {
	scripts, err := filepath.Glob("scripts/*.sh")
	if err != nil || len(scripts) != 3 {
		t.Fatal(scripts, err)
	}
	for _, file := range scripts {
		for line := range strings.Lines(read(t, file)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "#") {
				continue
			}
			for _, word := range []string{"rm", "rmdir", "chown", "mv", "find", "userdel", "start", "restart", "try-restart"} {
				if slices.Contains(strings.Fields(line), word) && !strings.HasPrefix(line, "echo ") {
					t.Errorf("%s: %s", file, line)
				}
			}
			if strings.Contains(line, "chgrp") && line != "chgrp roost /etc/roost /etc/roost/roost.conf" {
				t.Errorf("%s: %s", file, line)
			}
		}
		if out, err := exec.Command("sh", "-n", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}

// packages are those that dist/build has made: $ROOST_TEST_DIST is its OUTDIR.
func packages(t *testing.T, pattern string, tools ...string) string {
	t.Helper()
	dir := os.Getenv("ROOST_TEST_DIST")
	if dir == "" {
		t.Skip("ROOST_TEST_DIST does not say where packages are")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) != 1 {
		t.Fatalf("%s in %s: %v, %v", pattern, dir, files, err)
	}
	file, err := filepath.Abs(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// installed are the files that both packages have, with their modes.
const installed = `
drwxr-x--- /etc/roost
-rw-r----- /etc/roost/roost.conf
-rw-r--r-- /etc/logrotate.d/roost
-rwxr-xr-x /usr/bin/roost
-rw-r--r-- /usr/lib/systemd/system/roost.service
-rw-r--r-- /usr/lib/sysusers.d/roost.conf
-rw-r--r-- /usr/lib/tmpfiles.d/roost.conf
-rw-r--r-- /usr/share/bash-completion/completions/roost
-rw-r--r-- /usr/share/doc/roost/copyright
-rw-r--r-- /usr/share/doc/roost/operations.md
`

// checkInstalled compares a directory that a package was unpacked into.
func checkInstalled(t *testing.T, root string) {
	t.Helper()
	for line := range strings.Lines(strings.TrimSpace(installed)) {
		mode, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		info, err := os.Lstat(root + path)
		if err != nil || info.Mode().String() != mode {
			t.Errorf("%s: %v, want %s", path, err, line)
		}
	}
	for _, none := range []string{"/var", "/srv", "/home", "/run"} {
		if _, err := os.Lstat(root + none); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is in the package", none)
		}
	}
	out, err := exec.Command(root+"/usr/bin/roost", "--version").CombinedOutput()
	if err != nil || !regexp.MustCompile(`^roost version \S+ \(commit [0-9a-f]{12}\+?\)\n$`).Match(out) {
		t.Errorf("roost --version: %v, %s", err, out)
	}
	if out, err := exec.Command(root+"/usr/bin/roost", "config", "check", root+"/etc/roost/roost.conf").CombinedOutput(); err != nil {
		t.Errorf("the configuration it comes with: %v\n%s", err, out)
	}
}

func TestDeb(t *testing.T) {
	file := packages(t, "roost_*.deb", "dpkg-deb")
	root := t.TempDir()
	run(t, "dpkg-deb", "-x", file, root)
	checkInstalled(t, root)
	control := t.TempDir()
	run(t, "dpkg-deb", "-e", file, control)
	if got, want := read(t, control+"/conffiles"), "/etc/logrotate.d/roost\n/etc/roost/roost.conf\n"; got != want {
		t.Errorf("conffiles: %s", got)
	}
	for name, script := range map[string]string{"postinst": "postinstall", "prerm": "preremove", "postrm": "postremove"} {
		if read(t, control+"/"+name) != read(t, "scripts/"+script+".sh") {
			t.Errorf("%s is not %s.sh", name, script)
		}
	}
	verifyUnit(t, root)
}

// TestDebInstalls: installed, upgraded, removed and purged by dpkg, it starts and restarts
// nothing, and mail, logs and the user stay.
func TestDebInstalls(t *testing.T) {
	deb := packages(t, "roost_*.deb", "dpkg", "nsenter", "ip")
	if testing.Short() || os.Getuid() != 0 {
		t.Skip("it needs root")
	}
	inWorld(t, func(t *testing.T) {
		m := newMachines(t, deb)
		m.add(t, "host", "192.0.2.1", false)
		n := m.all["host"]
		n.run(t, "dpkg -i roost_*.deb")
		if got := n.run(t, "stat -c '%U:%G %a' /etc/roost /etc/roost/roost.conf /var/lib/roost /var/log/roost"); got != "root:roost 750\nroot:roost 640\nroost:roost 750\nroost:roost 750\n" {
			t.Errorf("owners are %s", got)
		}
		if out, err := n.try("systemctl is-active roost"); err == nil {
			t.Errorf("installing has started it: %s", out)
		}
		n.run(t, "roost config check /etc/roost/roost.conf && touch /etc/roost/users && systemctl enable --now roost && echo mine >>/etc/roost/roost.conf && touch /var/lib/roost/mail /var/log/roost/roost.log")
		if out := n.run(t, "dpkg -i roost_*.deb"); !strings.Contains(out, "the old version runs on, until systemctl restart roost") {
			t.Errorf("an upgrade says %s", out)
		}
		n.run(t, "grep -q mine /etc/roost/roost.conf && roost who")
		n.run(t, "dpkg -r roost")
		if out, err := n.try("systemctl is-active roost"); err == nil {
			t.Errorf("removing has not ended it: %s", out)
		}
		n.run(t, "test -e /etc/roost/roost.conf && dpkg -P roost && test -e /var/lib/roost/mail && test -e /var/log/roost/roost.log && id roost")
		if out, err := n.try("ls /usr/bin/roost /etc/roost/roost.conf /usr/lib/systemd/system/roost.service 2>&1"); err == nil || strings.Count(out, "No such file") != 3 {
			t.Errorf("purged, and there is %s", out)
		}
	})
}

// verifyUnit has systemd read the unit as it is in root.
func verifyUnit(t *testing.T, root string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Log("systemd-analyze is not there")
		return
	}
	unit := strings.ReplaceAll(read(t, root+"/usr/lib/systemd/system/roost.service"), "=/usr/bin/roost ", "="+root+"/usr/bin/roost ")
	file := filepath.Join(t.TempDir(), "roost.service")
	if err := os.WriteFile(file, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "systemd-analyze", "verify", file); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
}

func TestRPM(t *testing.T) {
	file := packages(t, "roost-*.rpm", "rpm2cpio", "cpio")
	root := t.TempDir()
	run(t, "sh", "-c", `rpm2cpio "$1" | (cd "$2" && cpio -idm --quiet --no-absolute-filenames)`, "sh", file, root)
	checkInstalled(t, root)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
