package main

import (
	"log/slog"
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
		Expand:       expandForAuth,
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
