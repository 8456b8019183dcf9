package auth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// Hashes made by crypt(3), the reference implementation of Argon2, and OpenSSL.
var hashes = []struct{ name, stored, password string }{
	{"plain", "{PLAIN}pass", "pass"},
	{"cleartext", "{cleartext}pass", "pass"},
	{"clear", "{CLEAR}pass", "pass"},
	{"plain with braces", "{PLAIN}{PLAIN}pass", "{PLAIN}pass"},
	{"plain base64", "{PLAIN.b64}cGFzcw==", "pass"},
	{"plain hex", "{PLAIN.HEX}70617373", "pass"},
	{"crypt md5", "{CRYPT}$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "password"},
	{"crypt sha256", "{CRYPT}$5$saltstring$OH4IDuTlsuTYPdED1gsuiRMyTAwNlRWyA6Xr3I4/dQ5", "password"},
	{"crypt sha512", "{CRYPT}$6$saltstring$adDbXsJjcDlq2662QPgd.tkSOVmnG9Tt3oXl4HR60SusC3AGjirnDenVZp3DGwLwqy6iYKCzannhaX9DR72nN1", "password"},
	{"crypt sha512 rounds", "{CRYPT}$6$rounds=1000$saltstring$EzTqOEb9gQc3Va/4p4pnqWqp/wIh1Otyhg9H9E8sV0eDyHGbNBkoMxYIM0ODHPBfmDNWb6wRiAvTriYxeDgb9.", "password"},
	{"crypt bcrypt 2y", "{CRYPT}$2y$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu", "password"},
	{"crypt bcrypt 2a", "{CRYPT}$2a$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu", "password"},
	{"crypt bcrypt 2b", "{CRYPT}$2b$05$abcdefghijklmnopqrstuucZGbUxuMlEqps0qcu2pjhO7vaatQZIC", "pässword"},
	{"crypt bcrypt, 100 bytes", "{CRYPT}$2b$05$abcdefghijklmnopqrstuujf8SX2ahXLwp9w/B.Y5XdysS6yR576q", strings.Repeat("x", 100)},
	{"crypt yescrypt", "{CRYPT}$y$j9T$saltsaltsaltsalt$Uxvkjnhdr/2B6SINV1mXACdXVbd5kc899ms5aqhxMQD", "password"},
	{"crypt argon2id", "{CRYPT}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password"},
	{"md5-crypt", "{MD5-CRYPT}$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "password"},
	{"sha256-crypt", "{SHA256-CRYPT}$5$saltstring$OH4IDuTlsuTYPdED1gsuiRMyTAwNlRWyA6Xr3I4/dQ5", "password"},
	{"blf-crypt", "{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu", "password"},
	{"argon2i", "{ARGON2I}$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8", "password"},
	{"argon2id", "{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password"},
	{"pbkdf2", "{PBKDF2}$1$bUnT4Pl7yFtYX0KU$5000$50a83cafdc517b9f46519415e53c6a858908680a", "test"},
	{"plain-md5 hex", "{PLAIN-MD5}5f4dcc3b5aa765d61d8327deb882cf99", "password"},
	{"ldap-md5 base64", "{LDAP-MD5}X03MO1qnZdYdgyfeuILPmQ==", "password"},
	{"sha", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "password"},
	{"sha256.hex", "{SHA256.hex}5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8", "password"},
	{"sha512", "{SHA512}sQnzu7wkTrgkQZF+0G1hi5AI3Qmzvv0bXgc5THBqi7mAsdd4Xll27ASbRt9fEyavWi6m0QP9B8lThf+rDKy8hg==", "password"},
	{"smd5", "{SMD5}swXK27O85U86pZxk/sAN6nNhbHQ=", "password"},
	{"ssha", "{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0", "password"},
	{"ssha256", "{SSHA256}eje4XIkY6sGakInA+loqtNzj+QUo3N7sEIsj3fNge5lzYWx0", "password"},
	{"ssha512", "{SSHA512.base64}+mohhbPgqahe9B/7Z+88H7b3SYD46/lw5OcuNT7ZU31ZMIPCAd/W5D4cinqsK8jbsRnH37fUuPExEROVvXDpf3NhbHQ=", "password"},
	{"default scheme", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "password"},
}

func TestSchemes(t *testing.T) {
	h := newHasher(1, CacheConfig{}, nil)
	for _, row := range hashes {
		t.Run(row.name, func(t *testing.T) {
			s := parseStored(row.stored, "CRYPT")
			if ok, err := h.verify(t.Context(), s, guess{"bob", row.password}); !ok || err != nil {
				t.Errorf("right password: %v, %v", ok, err)
			}
			for _, wrong := range []string{"", "x" + row.password, row.password[:len(row.password)-1], "\x00", row.password + "\x00"} {
				if len(row.password) > 72 && len(wrong) >= 72 && wrong[0] == 'x' {
					continue // bcrypt looks at 72 bytes
				}
				if ok, err := h.verify(t.Context(), s, guess{"bob", wrong}); ok || err != nil {
					t.Errorf("wrong password %q: %v, %v", wrong, ok, err)
				}
			}
		})
	}
}

// What cannot be understood is an error, so that it is logged; a locked or empty
// password is a mismatch. Neither is ever accepted.
func TestUnusableStored(t *testing.T) {
	h := newHasher(1, CacheConfig{}, nil)
	rows := []struct {
		name, stored string
		broken       bool
	}{
		{"empty", "", false},
		{"empty plain", "{PLAIN}", false},
		{"empty crypt", "{CRYPT}", false},
		{"locked", "!", false},
		{"locked hash", "!$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", false},
		{"no login", "*", false},
		{"unknown scheme", "{ROT13}cnff", true},
		{"no scheme", "{}pass", true},
		{"unknown suffix", "{PLAIN.rot}pass", true},
		{"bad base64", "{PLAIN.b64}!!", true},
		{"open brace", "{PLAIN", true},
		{"DES crypt", "abJnggxhB/yWI", true},
		{"plain text where crypt belongs", "{CRYPT}pass", true},
		{"wrong member", "{SHA512-CRYPT}$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", true},
		{"wrong length", "{SHA}W6ph5Mm5", true},
		{"short salted", "{SSHA}W6ph", true},
		{"rounds", "{CRYPT}$6$rounds=999999999$saltstring$EzTq", true},
		{"bcrypt cost", "{CRYPT}$2y$31$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu", true},
		{"argon2 memory", "{CRYPT}$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", true},
		{"argon2 passes", "{CRYPT}$argon2id$v=19$m=1048576,t=9,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", true},
		{"yescrypt cost", "{CRYPT}$y$jzT$saltsaltsaltsalt$Uxvkjnhdr/2B6SINV1mXACdXVbd5kc899ms5aqhxMQD", true},
		{"pbkdf2 rounds", "{PBKDF2}$1$salt$0$50a83cafdc517b9f46519415e53c6a858908680a", true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := parseStored(row.stored, "CRYPT")
			for _, password := range []string{"", "pass", "password", s.data} {
				ok, err := h.verify(t.Context(), s, guess{"bob", password})
				if ok {
					t.Errorf("%q was accepted", password)
				}
				if password != "" && errors.Is(err, errScheme) != row.broken {
					t.Errorf("%q: error %v", password, err)
				}
			}
		})
	}
}

func TestEqual(t *testing.T) {
	h := newHasher(1, CacheConfig{}, nil)
	for _, row := range []struct {
		a, b string
		want bool
	}{{"", "", true}, {"a", "a", true}, {"a", "b", false}, {"a", "aa", false}, {"", "\x00", false}, {"secret", "secre", false}} {
		if h.equal(row.a, row.b) != row.want {
			t.Errorf("equal(%q, %q) != %v", row.a, row.b, row.want)
		}
	}
	if newHasher(1, CacheConfig{}, nil).sum("a") == h.sum("a") {
		t.Error("two processes share a key")
	}
}

// An expensive comparison waits for its turn, and the wait ends with the context.
func TestVerifyWaits(t *testing.T) {
	h := newHasher(1, CacheConfig{}, nil)
	h.slots <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if ok, err := h.verify(ctx, parseStored(hashes[6].stored, ""), guess{"bob", "password"}); ok || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, %v", ok, err)
	}
	if ok, err := h.verify(ctx, parseStored("{PLAIN}pass", ""), guess{"bob", "pass"}); !ok || err != nil {
		t.Errorf("a cheap one: %v, %v", ok, err)
	}
}

// FuzzVerify looks for stored passwords that crash the decoders or accept "".
func FuzzVerify(f *testing.F) {
	for _, row := range hashes {
		if !strings.Contains(row.stored, "m=65536") {
			f.Add(row.stored, row.password)
		}
	}
	h := newHasher(1, CacheConfig{}, nil)
	f.Fuzz(func(t *testing.T, text, password string) {
		if strings.Contains(text, "rounds=") || strings.Contains(text, "m=") || strings.Contains(text, "$y$") ||
			(strings.Contains(text, "$2") && !strings.Contains(text, "$05$")) || strings.Contains(upperASCII(text), "{PBKDF2}") {
			return // slow, and TestUnusableStored holds the limits
		}
		s := parseStored(text, "CRYPT")
		ok, err := h.verify(t.Context(), s, guess{"bob", password})
		if ok && (password == "" || s.data == "" || err != nil) {
			t.Errorf("%q accepted %q, %v", text, password, err)
		}
	})
}
