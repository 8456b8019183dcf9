package auth

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// goldenUser and goldenPassword are those of testdata/doveadm.pw.
const (
	goldenUser     = "alice@example.org"
	goldenPassword = "pässword"
)

// TestGoldenPasswords: what Dovecot made, we accept, and nothing else for it.
func TestGoldenPasswords(t *testing.T) {
	text, err := os.ReadFile("testdata/doveadm.pw")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for hash := range strings.Lines(string(text)) {
		if hash = strings.TrimSpace(hash); strings.HasPrefix(hash, "#") {
			continue
		}
		name := parseStored(hash, "").scheme
		base, _, _ := strings.Cut(name, ".")
		seen[base] = true
		t.Run(name, func(t *testing.T) {
			if ok, err := VerifyPassword(t.Context(), hash, goldenUser, goldenPassword); !ok || err != nil {
				t.Errorf("%s: %v, %v", hash, ok, err)
			}
			if ok, err := VerifyPassword(t.Context(), hash, goldenUser, "passwörd"); ok || err != nil {
				t.Errorf("%s, wrong password: %v, %v", hash, ok, err)
			}
		})
	}
	for _, info := range Schemes() {
		if !seen[info.Name] && !strings.Contains("NTLM LANMAN RPA", info.Name) { // gone from Dovecot 2.3
			t.Errorf("no golden value of %s", info.Name)
		}
	}
}

// TestOldSchemes: those that Dovecot made before 2.3. The first two are known from
// the literature, RPA is MD5 of "\0a\0b…".
func TestOldSchemes(t *testing.T) {
	for _, row := range []struct{ hash, password string }{
		{"{NTLM}8846f7eaee8fb117ad06bdd830b7586c", "password"},
		{"{NTLM.b64}iEb36u6PsRetBr3YMLdYbA==", "password"},
		{"{LANMAN}e52cac67419a9a224a3b108f3fa6cb6d", "password"},
		{"{LANMAN}e52cac67419a9a224a3b108f3fa6cb6d", "PassWord"},
		{"{RPA}3f58fc44b4d6e4a2f6bdc4b08b1d4f09", "password"},
	} {
		if row.hash[:5] == "{RPA}" {
			row.hash, _ = HashPassword("RPA", "", row.password, 0)
		}
		if ok, err := VerifyPassword(t.Context(), row.hash, "bob", row.password); !ok || err != nil {
			t.Errorf("%s: %v, %v", row.hash, ok, err)
		}
		if ok, err := VerifyPassword(t.Context(), row.hash, "bob", "other"); ok || err != nil {
			t.Errorf("%s, wrong password: %v, %v", row.hash, ok, err)
		}
	}
}

// TestHashPassword: what is made is accepted, in every encoding.
func TestHashPassword(t *testing.T) {
	for _, info := range Schemes() {
		for _, suffix := range []string{"", ".hex", ".b64", ".base64"} {
			if info.Expensive && suffix != "" {
				continue
			}
			hash, err := HashPassword(info.Name+suffix, goldenUser, "secret", cheapest(info.Name))
			if err != nil {
				t.Errorf("%s%s: %v", info.Name, suffix, err)
				continue
			}
			if ok, err := VerifyPassword(t.Context(), hash, goldenUser, "secret"); !ok || err != nil {
				t.Errorf("%s: %v, %v", hash, ok, err)
			}
			if ok, err := VerifyPassword(t.Context(), hash, goldenUser, "Secret"); ok != (info.Name == "LANMAN") || err != nil {
				t.Errorf("%s, wrong password: %v, %v", hash, ok, err)
			}
		}
	}
}

// cheapest is the least cost of a scheme, 0 where there is nothing to choose.
func cheapest(name string) int {
	switch name {
	case "SHA256-CRYPT", "SHA512-CRYPT":
		return 1000
	case "ARGON2I", "ARGON2ID", "PBKDF2":
		return 1
	}
	return 0
}

func TestHashPasswordErrors(t *testing.T) {
	for _, row := range []struct {
		scheme, user, password string
		rounds                 int
	}{
		{"ROT13", "bob", "x", 0},
		{"SHA.rot", "bob", "x", 0},
		{"", "bob", "x", 0},
		{"SHA512-CRYPT", "bob", "", 0},
		{"SHA512-CRYPT", "bob", "a\nb", 0},
		{"PLAIN", "bob", "a\x00b", 0},
		{"PLAIN", "bob", strings.Repeat("x", 5000), 0},
		{"DIGEST-MD5", "", "x", 0},
		{"BLF-CRYPT", "bob", strings.Repeat("x", 73), 0},
		{"BLF-CRYPT", "bob", "x", 31},
		{"BLF-CRYPT", "bob", "x", 3},
		{"SHA512-CRYPT", "bob", "x", 999},
		{"SHA512-CRYPT", "bob", "x", 100_000_000},
		{"SCRAM-SHA-256", "bob", "x", -1},
		{"SCRAM-SHA-256", "bob", "x", 4095},
		{"PBKDF2", "bob", "x", 1 << 40},
		{"ARGON2ID", "bob", "x", 1000},
	} {
		if hash, err := HashPassword(row.scheme, row.user, row.password, row.rounds); err == nil {
			t.Errorf("%+v: %s", row, hash)
		}
	}
	if _, err := VerifyPassword(t.Context(), "pass", "bob", "pass"); err == nil {
		t.Error("a hash without a scheme")
	}
}

// doveadm runs Dovecot's command; the test is skipped where there is none, unless
// ROOST_TEST_PEERS asks for one.
func doveadm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	binary, err := exec.LookPath("doveadm")
	if err != nil {
		if os.Getenv("ROOST_TEST_PEERS") == "1" {
			t.Fatalf("doveadm is asked for: %v", err)
		}
		t.Skip("needs doveadm")
	}
	conf := t.TempDir() + "/dovecot.conf"
	if err := os.WriteFile(conf, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, append([]string{"-c", conf}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// TestDoveadm: each accepts the hashes of the other, and refuses the same.
func TestDoveadm(t *testing.T) {
	list, err := doveadm(t, "pw", "-l")
	if err != nil {
		t.Fatal(list, err)
	}
	theirs := map[string]bool{}
	for name := range strings.FieldsSeq(list) {
		theirs[name] = true
	}
	const password = "a b:ü{}$€"
	for _, info := range Schemes() {
		if !theirs[info.Name] {
			continue
		}
		delete(theirs, info.Name)
		suffix := []string{"", ".hex", ".b64"}[len(info.Name)%3]
		out, err := doveadm(t, "pw", "-s", info.Name+suffix, "-u", goldenUser, "-p", password)
		if err != nil {
			t.Errorf("doveadm pw -s %s: %s", info.Name, out)
			continue
		}
		if ok, err := VerifyPassword(t.Context(), out, goldenUser, password); !ok || err != nil {
			t.Errorf("theirs: %s: %v, %v", out, ok, err)
		}
		hash, err := HashPassword(info.Name+suffix, goldenUser, password, cheapest(info.Name))
		if err != nil {
			t.Fatal(err)
		}
		if out, err := doveadm(t, "pw", "-t", hash, "-u", goldenUser, "-p", password); err != nil {
			t.Errorf("ours: %s: %s", hash, out)
		}
		if out, err := doveadm(t, "pw", "-t", hash, "-u", goldenUser, "-p", "x"+password); err == nil {
			t.Errorf("ours, wrong password: %s: %s", hash, out)
		}
	}
	for _, name := range []string{"OTP", "DES-CRYPT", "PLAIN-TRUNC"} {
		delete(theirs, name)
	}
	if len(theirs) > 0 {
		t.Errorf("schemes that only Dovecot has: %v", theirs)
	}
}

// FuzzKeys: what is read as SCRAM keys is written the same way.
func FuzzKeys(f *testing.F) {
	f.Add("4096,HZG5+9W3WHN47Dm6wYyqNQ==,uqAEIB6Tc7LfC0aLlzz70v8E5zM=,CWGOY/IBAU12hH+sr4M3O1BITss=")
	f.Add("1,,,")
	f.Add("99999999999999999999,YQ==,YQ==,YQ==")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := parseKeys("SCRAM-SHA-1", text)
		if err != nil {
			return
		}
		again, err := parseKeys("SCRAM-SHA-1", formatKeys(keys))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(keys) {
			t.Errorf("%q: %v, then %v, %v", text, keys, again, err)
		}
	})
}
