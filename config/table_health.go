package config

func healthRows() []group {
	return []group{{"", "Health and metrics", []Row{
		imp("health_check_interval", Time, "10 secs", "How often a director checks each of its backends, and a backend with health_check_user itself; 0 is never. What they find is in roost director status and in the metrics, and moves nobody.").
			to(func(s *Settings) any { return &s.Health.Interval }),
		imp("health_check_timeout", Time, "3 secs", "How long a check may take in all.").
			to(func(s *Settings) any { return &s.Health.Timeout }),
		imp("health_check_rise", Uint, "2", "How many checks in a row succeed until a backend counts as up again.").
			to(func(s *Settings) any { return &s.Health.Rise }),
		imp("health_check_fall", Uint, "3", "How many checks in a row fail until a backend counts as down. Without a coordinator, and of those that are no Roost, logins to one that does not even greet are then refused at once.").
			to(func(s *Settings) any { return &s.Health.Fall }),
		imp("health_check_ssl", String, "no", "TLS to the backends of director_mail_servers: from the first byte, or by STARTTLS. With imaps the usual port is 993.").enum("no", "imaps", "starttls").
			to(func(s *Settings) any { return &s.Health.SSL }),
		imp("health_check_user", String, "", "The user that checks log in as, after the greeting; %{backend} in it is the backend's name, with a hyphen for each colon. Each backend needs a user of its own. With a coordinator such a user belongs to the backend of the name by itself, if the backend has this setting too, and to no other one; without, the user has to live there. Backends with this setting do not count these logins.").
			to(func(s *Settings) any { return &s.Health.User }),
		imp("health_check_password", String, "", "The user's password.").
			to(func(s *Settings) any { return &s.Health.Password }).secret(),
		imp("health_check_write", Bool, "no", "Each check puts a message into the user's mailbox Probe, and expunges it.").
			to(func(s *Settings) any { return &s.Health.Write }),
		imp("metrics_listen", String, "", "ADDRESS:PORT where /healthz, /readyz and /metrics are served by HTTP, to everybody who can reach it. Unset, nowhere.").
			to(func(s *Settings) any { return &s.Health.Listen }),
	}}}
}
