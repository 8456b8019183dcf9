package config

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestQuota(t *testing.T) {
	for _, row := range []struct{ name, plugin, want string }{
		{"none", "", "<nil>"},
		{
			"plain", "quota = count:User quota\nquota_rule = *:storage=1G:messages=1000\nquota_rule2 = Trash:storage=+10%%\nquota_rule3 = Spam/*:ignore",
			"{User quota 1073741824 1000 107374182 0  false false [{Trash false 1181116006 1000} {Spam/* true 1073741824 1000}]}",
		},
		{"units", "quota = maildir\nquota_rule = *:storage=100\nquota_grace = 2 k", "{User quota 102400 0 2048 0  false false []}"},
		{
			"bytes", "quota = dict:Q::file:/x:noenforcing:hidden\nquota_rule = ?:bytes=5000\nquota_grace = 0\nquota_max_mail_size = 1M\nquota_exceeded_message = full",
			"{Q 5000 0 0 1048576 full true true []}",
		},
		{
			"less", "quota = count\nquota_rule = *:messages=10\nquota_rule2 = A:messages=-3\nquota_rule3 = B:messages=-30\nquota_rule4 = C:messages=50%%:storage=+1M",
			"{User quota 0 10 0 0  false false [{A false 0 7} {B false 0 1} {C false 0 5}]}",
		},
		{
			"much", "quota = count\nquota_rule = *:bytes=18446744073709551615\nquota_rule2 = A:bytes=+18446744073709551615\nquota_rule3 = B:storage=18446744073709551615\nquota_grace = 65535%%",
			fmt.Sprintf("{User quota %[1]d 0 %[1]d 0  false false [{A false %[1]d 0} {B false %[1]d 0}]}", math.MaxInt64),
		},
		{"order", "quota = count\nquota_rule = A:messages=+1\nquota_rule2 = *:messages=5", "{User quota 0 5 0 0  false false [{A false 0 6}]}"},
	} {
		s := &Settings{Plugin: map[string]string{}}
		for line := range strings.SplitSeq(row.plugin, "\n") {
			key, value, _ := strings.Cut(line, " = ")
			s.Plugin[key] = value
		}
		err := s.finishQuota()
		got := "<nil>"
		if s.Quota != nil {
			got = fmt.Sprint(*s.Quota)
		}
		if err != nil || got != row.want {
			t.Errorf("%s: %s, %v\nwant %s", row.name, got, err, row.want)
		}
	}
}

func TestQuotaMistakes(t *testing.T) {
	for _, rule := range []string{"*:storage=", "*:storage=1X", "*:storage=ten", "*:foo=1", ":storage=1", "*:messages=5x%", "*:messages=99999999999999999999", "*:storage=--1"} {
		s := &Settings{Plugin: map[string]string{"quota": "count", "quota_rule": rule}}
		if err := s.finishQuota(); err == nil {
			t.Errorf("%s gives %+v", rule, *s.Quota)
		}
	}
}

// A user's own rule takes the place of the file's, and a bad one is an error.
func TestQuotaOfOneUser(t *testing.T) {
	s := &Settings{Plugin: map[string]string{"quota": "count", "quota_rule": "*:messages=1"}}
	own, warnings, err := s.ForUser(map[string]string{"quota_rule": "*:messages=7", "plugin/quota_rule2": "Trash:messages=+10%"})
	if err != nil || len(warnings) > 0 || own.Quota == nil || own.Quota.Messages != 7 || len(own.Quota.Rules) != 1 {
		t.Errorf("%+v, %v, %v", own.Quota, warnings, err)
	}
	if s.Quota != nil || s.Plugin["quota_rule"] != "*:messages=1" {
		t.Error("the file's settings changed")
	}
	if _, _, err := s.ForUser(map[string]string{"quota_rule": "*:messages=many"}); err == nil {
		t.Error("a bad rule was taken")
	}
}

func FuzzQuota(f *testing.F) {
	f.Add("*:storage=1G:messages=1000", "+10%%")
	f.Add("?:bytes=18446744073709551615", "65535%")
	f.Fuzz(func(t *testing.T, rule, grace string) {
		s := &Settings{Plugin: map[string]string{"quota": "count", "quota_rule": rule, "quota_rule2": "A:storage=+" + grace, "quota_grace": grace}}
		if s.finishQuota() != nil {
			return
		}
		for _, n := range []uint64{s.Quota.Storage, s.Quota.Messages, s.Quota.Grace} {
			if n > math.MaxInt64 {
				t.Errorf("%q, %q: %+v", rule, grace, *s.Quota)
			}
		}
	})
}
