package config

func directorRows() []group {
	return []group{{"", "Director", []Row{
		imp("director_mail_servers", List, "", "The backends: IP, IP1-IP2, host name, each with :PORT or @TAG behind it if need be (the port is Roost's own; [IPv6]:PORT). It makes this a director. With cluster = … backends register themselves instead.").
			to(func(s *Settings) any { return &s.Director.MailServers }),
		imp("director_servers", List, "", "The directors. Several need a coordinator: cluster.").
			to(func(s *Settings) any { return &s.Director.Servers }),
		imp("director_username_hash", String, "%Lu", "What of a user name decides the backend: %u, %n and %d with modifiers.").
			to(func(s *Settings) any { return &s.Director.UsernameHash }).vars(),
		acc("director_user_expire", Time, "15 mins", "How long a user stays with a backend after the last login; at least 10 s.", "a user stays as long as director_mail_servers does").
			to(func(s *Settings) any { return &s.Director.UserExpire }),
		acc("director_user_kick_delay", Time, "2 secs", "How long a moved user waits before logging in again.", "a user moves when the last session has ended"),
		acc("director_flush_socket", String, "", "Script that runs for each moved user.", whyRing),
		acc("director_max_parallel_kicks", Uint, "100", "How many users are moved at a time.", whyRing),
		acc("director_max_parallel_moves", Uint, "100", "How many users are moved at a time.", whyRing),
		acc("director_output_buffer_size", Size, "10 M", "Output buffer between directors.", whyRing),
		acc("director_ping_idle_timeout", Time, "30 secs", "When a director counts as gone.", whyRing),
		acc("director_ping_max_timeout", Time, "1 mins", "When a director counts as gone.", whyRing),
		acc("director_consistent_hashing", Bool, "yes", "Users keep their backend when others come and go.", "it is always on"),
		acc("director_doveadm_port", Port, "0", "Port of the director's doveadm.", whyMaster),
	}}}
}
