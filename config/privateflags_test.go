package config

import (
	"strings"
	"testing"
)

func TestPrivateFlags(t *testing.T) {
	const rest = "mail_location = roost:~/mail\n"
	for value, want := range map[string]string{
		``:                    "",
		`\Seen`:               `\Seen`,
		`\seen Todo,\Flagged`: `\seen Todo \Flagged`,
		`"\\Seen $Todo"`:      `\Seen $Todo`,
	} {
		s, _, err := Load(write(t, rest+"mail_private_flags = "+value+"\n"))
		if err != nil || strings.Join(s.Mail.PrivateFlags, " ") != want {
			t.Errorf("%s gives %q, %v", value, s.Mail.PrivateFlags, err)
		}
	}
	for value, want := range map[string]string{
		`\Seen \deleted`:            "EXPUNGE removes for all",
		`\Recent`:                   "no flag that anyone sets",
		`\Flaged`:                   `did you mean \Flagged`,
		`"\Seen"`:                   `the flag is \Seen`,
		`$Todo`:                     "not defined",
		`\Seen a\b`:                 "is no keyword",
		`\Seen A a`:                 "twice",
		strings.Repeat("x", 256):    "is no keyword",
		strings.Repeat("a b c ", 9): "too many",
	} {
		if _, _, err := Load(write(t, rest+"mail_private_flags = "+value+"\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v, want %q", value, err, want)
		}
	}
}
