package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// edit changes a node's configuration and starts it anew.
func (r *rig) edit(t *testing.T, name string, change func(string) string) {
	t.Helper()
	r.stop(t, name)
	text, err := os.ReadFile(r.files[name])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.files[name], []byte(change(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start(t, name, nil)
}

func appended(lines string) func(string) string {
	return func(s string) string { return s + lines }
}

// say runs one command of a fresh session and returns its answer.
func (r *rig) say(t *testing.T, login string, commands ...string) string {
	t.Helper()
	c := dialIMAP(t, r.address())
	defer c.close()
	c.command("LOGIN " + login + " " + r.password(login))
	c.expect("OK")
	for _, cmd := range commands {
		c.command(cmd)
	}
	return strings.Join(c.answer, "\n")
}

func TestGlobalACLGroups(t *testing.T) {
	r := startRig(t, "rig")
	r.say(t, "someone1", "CREATE Work", "SETACL Work $everybody lr")
	if got := r.say(t, "someone2", "SELECT shared/someone1/Work"); !strings.Contains(got, "NONEXISTENT") {
		t.Errorf("without the group: %s", got)
	}
	for _, be := range []string{"be1", "be2"} {
		r.edit(t, be, appended("plugin {\n  acl_groups = everybody,%n-own\n}\n"))
	}
	if got := r.say(t, "someone2", "SELECT shared/someone1/Work"); !strings.Contains(got, "OK [READ-ONLY]") {
		t.Errorf("with the group: %s", got)
	}
	if got := r.say(t, "someone2", `LIST "" shared/*`); !strings.Contains(got, "shared/someone1/Work") {
		t.Errorf("LIST with the group: %s", got)
	}
	// A user whose userdb entry names groups has those and no others.
	if got := r.say(t, "someone3", "SELECT shared/someone1/Work"); !strings.Contains(got, "NONEXISTENT") {
		t.Errorf("groups of the userdb: %s", got)
	}
}

func TestACLUserMakesAMasterTheOwner(t *testing.T) {
	r := startRig(t, "rig")
	if got := r.say(t, "someone1*someone2", "MYRIGHTS INBOX"); !strings.Contains(got, "NONEXISTENT") {
		t.Errorf("a master user has the rights of an owner: %s", got)
	}
	r.edit(t, "be1", func(s string) string {
		return strings.Replace(s, "args = password=master-secret", "args = password=master-secret userdb_acl_user=%u", 1)
	})
	if got := r.say(t, "someone1*someone2", "MYRIGHTS INBOX"); !strings.Contains(got, "MYRIGHTS INBOX lrwstipekxacd") {
		t.Errorf("acl_user = owner: %s", got)
	}
}

func TestConnectionLimitCountsClientsOnly(t *testing.T) {
	r := startRig(t, "rig")
	for _, be := range []string{"be1", "be2"} {
		r.edit(t, be, func(s string) string {
			return strings.Replace(s, "mail_max_userip_connections = 100", "mail_max_userip_connections = 2", 1)
		})
	}
	r.say(t, "someone1", "CREATE Work", "SETACL Work anyone lr")
	var readers []*imapConn
	for range 2 {
		c := dialIMAP(t, r.address())
		defer c.close()
		c.command("LOGIN someone2 pass")
		c.expect("OK")
		c.command("SELECT shared/someone1/Work")
		c.expect("OK")
		readers = append(readers, c)
	}
	c := dialIMAP(t, r.address())
	defer c.close()
	c.command("LOGIN someone2 pass")
	c.expect("NO [LIMIT]")
	// Four back sessions count for nobody, least of all for their owner.
	c.command("LOGIN someone1 pass")
	c.expect("OK")
	readers[0].command("LOGOUT")
	readers[0].expect("OK")
	again := dialIMAP(t, r.address())
	defer again.close()
	again.command("LOGIN someone2 pass")
	again.expect("OK")
}

func TestMechanismsAndID(t *testing.T) {
	r := startRig(t, "rig")
	r.edit(t, "director", func(s string) string {
		return strings.Replace(s, "auth_mechanisms = plain login", "auth_mechanisms = plain\nimap_id_send = name * support-url https://example.org/", 1)
	})
	c := dialIMAP(t, r.address())
	defer c.close()
	c.command("CAPABILITY")
	c.expect("* CAPABILITY ...AUTH=PLAIN")
	c.expectNot("...AUTH=LOGIN")
	c.command("AUTHENTICATE LOGIN")
	c.expect("NO")
	c.command("ID NIL")
	c.expect(`* ID (..."support-url" "https://example.org/"`)
}

// TestRawLogs: whoever makes a directory named after a user gets the raw log of
// that user's sessions, back sessions apart, and no password in the first.
func TestRawLogs(t *testing.T) {
	r := startRig(t, "rig")
	raw, rawc := filepath.Join(r.root, "raw"), filepath.Join(r.root, "rawc")
	for _, dir := range []string{raw, rawc} {
		if err := os.MkdirAll(filepath.Join(dir, "someone2"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.edit(t, "be2", appended("rawlog_dir = "+raw+"/%u\nimapc_rawlog_dir = "+rawc+"/%u\n"))
	r.say(t, "someone1", "CREATE Work", "SETACL Work someone2 lr")
	r.say(t, "someone3", "NOOP")
	r.say(t, "someone2", "SELECT shared/someone1/Work", "LOGOUT")
	r.stop(t, "be2") // the logs are complete now
	for _, row := range []struct{ pattern, want string }{
		{raw + "/someone2/*.in", "SELECT shared/someone1/Work"},
		{raw + "/someone2/*.out", "OK [READ-ONLY]"},
		{rawc + "/someone2/*.out", "SELECT "},
		{rawc + "/someone2/*.in", "OK [READ-ONLY]"},
	} {
		text := readAll(t, row.pattern)
		if !strings.Contains(text, row.want) {
			t.Errorf("%s has no %q:\n%s", row.pattern, row.want, text)
		}
	}
	if text := readAll(t, raw+"/someone2/*"); strings.Contains(text, "LOGIN") {
		t.Errorf("the login is in the raw log:\n%s", text)
	}
	if text := readAll(t, raw+"/someone3/*"); text != "" {
		t.Errorf("a raw log that nobody asked for:\n%s", text)
	}
}

func readAll(t *testing.T, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}

// TestTakeover: mail that a backend did not close is not opened by another one
// until an administrator says so.
func TestTakeover(t *testing.T) {
	r := startRig(t, "rig")
	r.say(t, "someone1", "CREATE Work")
	home := filepath.Join(r.root, "shared-fs/home/someone1/mail")
	held := copyDir(t, home) // as be1 would have left it by dying
	r.stop(t, "be1")
	if err := os.RemoveAll(home); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(held, home); err != nil {
		t.Fatal(err)
	}
	r.edit(t, "director", func(s string) string {
		return strings.Replace(s, "director_mail_servers = 127.0.1.11 127.0.1.12", "director_mail_servers = 127.0.1.12", 1)
	})
	c := dialIMAP(t, r.address())
	defer c.close()
	c.command("LOGIN someone1 pass")
	c.expect("NO [UNAVAILABLE]")
	cmd := command()
	var out strings.Builder
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"store", "takeover", "-c", r.files["be2"], "someone1"})
	if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), "taken over from") {
		t.Fatalf("%v: %s", err, out.String())
	}
	if got := r.say(t, "someone1", "STATUS Work (MESSAGES)"); !strings.Contains(got, "MESSAGES 0") {
		t.Error(got)
	}
}

func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "mail")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestMasterPassdbOfTheDocuments is what Dovecot's documents ask of the master
// passdb on backends: the acting user's rights, and no shared namespace.
func TestMasterPassdbOfTheDocuments(t *testing.T) {
	r := startRig(t, "rig")
	for _, be := range []string{"be1", "be2"} {
		r.edit(t, be, func(s string) string {
			return strings.Replace(s, "args = password=master-secret",
				"args = password=master-secret userdb_namespace/shared/disabled=yes userdb_acl_user=%{auth_user}", 1)
		})
	}
	r.say(t, "someone1", "CREATE Work", "SETACL Work someone2 lrs")
	if got := r.say(t, "someone2", "MYRIGHTS shared/someone1/Work"); !strings.Contains(got, "Work lrs") {
		t.Error(got)
	}
	if got := r.say(t, "someone1*someone2", "NAMESPACE"); !strings.Contains(got, `* NAMESPACE (("" "/")) NIL NIL`) {
		t.Errorf("a back session has others' mail: %s", got)
	}
	if got := r.say(t, "someone1*someone2", `LIST "" *`); !strings.Contains(got, "Work") || strings.Contains(got, "INBOX") {
		t.Errorf("a back session lists %s", got)
	}
}

// TestUnmountedVolume: mail on a filesystem that is not there is unavailable,
// never empty.
func TestUnmountedVolume(t *testing.T) {
	r := startRig(t, "rig")
	home := filepath.Join(r.root, "shared-fs/home")
	r.say(t, "someone1", "CREATE Work")
	r.edit(t, "be1", appended("mail_volume = "+home+"\n"))
	refused := func(when string) {
		t.Helper()
		c := dialIMAP(t, r.address())
		defer c.close()
		c.command("LOGIN someone1 pass")
		c.expect("NO [UNAVAILABLE]")
		if _, err := os.Stat(filepath.Join(home, "someone7")); err == nil {
			t.Errorf("%s: mail was made", when)
		}
	}
	refused("without a marker")
	cmd := command()
	var out strings.Builder
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"store", "init", home})
	if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), "is volume ") {
		t.Fatalf("%v: %s", err, out.String())
	}
	if got := r.say(t, "someone1", "STATUS Work (MESSAGES)"); !strings.Contains(got, "MESSAGES 0") {
		t.Errorf("with the marker: %s", got)
	}
}
