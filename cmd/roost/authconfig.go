package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/config"
)

// maxPenalty is the longest that a login waits after failures of its own kind.
const maxPenalty = 15 * time.Second

// authConfig turns settings into those of package auth.
func authConfig(set *config.Settings, log *slog.Logger) auth.Config {
	a := set.Auth
	cfg := auth.Config{
		Names: auth.NameConfig{
			Chars: a.UsernameChars, Format: a.UsernameFormat,
			DefaultRealm: a.DefaultRealm, MasterSeparator: a.MasterUserSeparator,
		},
		FailureDelay: a.FailureDelay,
		MaxPenalty:   maxPenalty,
		Cache:        auth.CacheConfig{Size: a.CacheSize, TTL: a.CacheTTL, NegativeTTL: a.CacheNegativeTTL},
		Expand:       expandForAuth,
		Secret:       authSecret(set),
		ProxySelf:    a.ProxySelf,
		Log:          log,
	}
	for _, p := range a.Passdbs {
		cfg.Passdbs = append(cfg.Passdbs, auth.PassdbConfig{
			Name: dbName(p.Name, p.Pos), Driver: p.Driver, Args: p.Args, Master: p.Master, Deny: p.Deny, Pass: p.Pass, Skip: p.Skip,
			ResultSuccess: p.ResultSuccess, ResultFailure: p.ResultFailure, ResultInternalFail: p.ResultInternalFail,
			DefaultFields: words(p.DefaultFields), OverrideFields: words(p.OverrideFields),
		})
	}
	for _, u := range a.Userdbs {
		cfg.Userdbs = append(cfg.Userdbs, auth.UserdbConfig{
			Name: dbName(u.Name, u.Pos), Driver: u.Driver, Args: u.Args, Skip: u.Skip,
			ResultSuccess: u.ResultSuccess, ResultFailure: u.ResultFailure, ResultInternalFail: u.ResultInternalFail,
			DefaultFields: words(u.DefaultFields), OverrideFields: words(u.OverrideFields),
		})
	}
	return cfg
}

// authSecret is a key that directors with the same ssl_key share and that stays
// after a restart; nil without one.
func authSecret(set *config.Settings) []byte {
	for _, c := range set.TLS.Server.Certificates {
		key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
		if err != nil {
			continue
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("roost: keys of users who do not exist"))
		return mac.Sum(nil)
	}
	return nil
}

// unreadable are passwd-files that can't be read; that is told at the start, and not
// only when somebody can't log in.
func unreadable(set *config.Settings) (warnings []config.Warning) {
	check := func(kind, path string, pos config.Pos) {
		if path == "" || strings.Contains(path, "%") {
			return
		}
		f, err := os.Open(path)
		if err == nil {
			var st os.FileInfo
			if st, err = f.Stat(); err == nil && !st.Mode().IsRegular() {
				err = fmt.Errorf("%s is no regular file", path)
			}
			_ = f.Close()
		}
		if err != nil {
			warnings = append(warnings, config.Warning{Pos: pos, Text: kind + " can't be read, its users can't log in: " + err.Error()})
		}
	}
	for _, p := range set.Auth.Passdbs {
		check("passdb", p.Path, p.Pos)
	}
	for _, u := range set.Auth.Userdbs {
		check("userdb", u.Path, u.Pos)
	}
	return warnings
}

// dbName is how a block without a name is called in the log: by its place.
func dbName(name string, pos config.Pos) string {
	if name != "" {
		return name
	}
	return pos.String()
}

// words is a list of fields as it is written in a file.
func words(fields []config.Field) string {
	s := ""
	for i, f := range fields {
		if i > 0 {
			s += " "
		}
		s += f.Key + "=" + f.Value
	}
	return s
}

func expandForAuth(template string, value auth.Value) (string, error) {
	return config.ExpandFunc(template, value)
}
