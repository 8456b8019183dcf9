package config

func authRows() []group {
	return []group{{"", "Authentication", []Row{
		imp("disable_plaintext_auth", Bool, "yes", "Refuse passwords on connections that are not secured: neither from this machine nor from login_trusted_networks.").
			to(func(s *Settings) any { return &s.Auth.DisablePlaintext }),
		imp("auth_mechanisms", List, "plain", "SASL mechanisms that are offered.").
			only("this version has plain, login and SCRAM only", "plain", "login", "scram-sha-1", "scram-sha-1-plus", "scram-sha-256", "scram-sha-256-plus").
			to(func(s *Settings) any { return &s.Auth.Mechanisms }),
		imp("auth_master_user_separator", String, "", "The character between user and master user in a login name like alice*bob; empty turns such names off.").
			to(func(s *Settings) any { return &s.Auth.MasterUserSeparator }),
		acc("master_user_separator", String, "", "The same for the director, before Dovecot 2.3.20.", "auth_master_user_separator holds for the director too"),
		imp("auth_failure_delay", Time, "2 secs", "How long a failed login waits for its answer.").
			to(func(s *Settings) any { return &s.Auth.FailureDelay }),
		imp("auth_username_format", String, "%Lu", "The form of user names after normalisation; %Lu is lower case, %Ln drops the domain.").
			to(func(s *Settings) any { return &s.Auth.UsernameFormat }).vars(),
		imp("auth_username_chars", String, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890.-_@",
			"Characters that a user name may have; empty allows all.").
			to(func(s *Settings) any { return &s.Auth.UsernameChars }),
		imp("auth_default_realm", String, "", "The domain of login names without one.").
			to(func(s *Settings) any { return &s.Auth.DefaultRealm }),
		acc("auth_verbose", Bool, "no", "Log failed logins with their reason.", "failed logins are always logged").
			to(func(s *Settings) any { return &s.Auth.Verbose }),
		ref("auth_username_translation", String, "", "Pairs of characters that are replaced in user names.",
			"users would be taken for other users; use auth_username_format"),
		imp("auth_ssl_require_client_cert", Bool, "no", "Let nobody in without a certificate by an authority of ssl_ca. It needs ssl_verify_client_cert = yes.").
			to(func(s *Settings) any { return &s.Auth.RequireClientCert }),
		ref("auth_ssl_username_from_cert", Bool, "no", "Take the user name from the client certificate.", "a certificate says that a client may come, not who it is"),
		ref("auth_policy_server_url", String, "", "Server that is asked whether a login may go on.", "logins that it would stop would be let in"),
		acc("auth_policy_check_after_auth", Bool, "yes", "Ask the policy server after the password check.", whyPolicy),
		acc("auth_policy_check_before_auth", Bool, "yes", "Ask the policy server before the password check.", whyPolicy),
		acc("auth_policy_hash_mech", String, "sha256", "Hash of the password sent to the policy server.", whyPolicy),
		acc("auth_policy_hash_nonce", String, "", "Nonce of that hash.", whyPolicy).secret(),
		acc("auth_policy_hash_truncate", Uint, "12", "Bits of that hash that are sent.", whyPolicy),
		acc("auth_policy_log_only", Bool, "no", "Only log what the policy server says.", whyPolicy),
		acc("auth_policy_reject_on_fail", Bool, "no", "Refuse logins when the policy server fails.", whyPolicy),
		acc("auth_policy_report_after_auth", Bool, "yes", "Tell the policy server how a login ended.", whyPolicy),
		acc("auth_policy_request_attributes", String,
			"login=%{requested_username} pwhash=%{hashed_password} remote=%{rip} device_id=%{client_id} protocol=%s session_id=%{session}",
			"What is sent to the policy server.", whyPolicy),
		acc("auth_policy_server_api_header", String, "", "Header with the policy server's key.", whyPolicy).secret(),
		acc("auth_policy_server_timeout_msecs", Uint, "2000", "How long the policy server may take.", whyPolicy),
		imp("auth_cache_size", Size, "0", "Memory for the outcomes of password checks that take long on purpose, as keyed hashes. 0: 1 MB, for matches of the last 5 minutes.").
			to(func(s *Settings) any { return &s.Auth.CacheSize }),
		imp("auth_cache_ttl", Time, "1 hours", "How long a password that was right needs no further check, unless it is changed.").
			to(func(s *Settings) any { return &s.Auth.CacheTTL }),
		imp("auth_cache_negative_ttl", Time, "1 hours", "How long a password that was wrong needs no further check, unless it is changed.").
			to(func(s *Settings) any { return &s.Auth.CacheNegativeTTL }),
		acc("auth_cache_verify_password_with_worker", Bool, "no", "Verify cached passwords in worker processes.", whyProcess),
		acc("auth_debug", Bool, "no", "Log every step of authentication.", whyLog),
		acc("auth_debug_passwords", Bool, "no", "Log passwords while debugging.", "passwords are never logged"),
		acc("auth_verbose_passwords", String, "no", "Log passwords of failed logins, plain or hashed.", "passwords are never logged"),
		acc("auth_realms", List, "", "Realms of the DIGEST-MD5 mechanism.", whyMech),
		acc("auth_anonymous_username", String, "anonymous", "The user of the ANONYMOUS mechanism.", whyMech),
		acc("auth_gssapi_hostname", String, "", "Host name in Kerberos principals.", whyMech),
		acc("auth_krb5_keytab", String, "", "Kerberos keytab.", whyMech),
		acc("auth_use_winbind", Bool, "no", "Ask winbind for NTLM.", whyMech),
		acc("auth_winbind_helper_path", String, "/usr/bin/ntlm_auth", "Winbind's program.", whyMech),
		imp("auth_proxy_self", List, "", "Addresses that are this host, beside the one that the client has connected to: users with the passdb field proxy_maybe whose host is one of them are served here.").
			to(func(s *Settings) any { return &s.Auth.ProxySelf }),
		acc("auth_socket_path", String, "auth-userdb", "Socket for user lookups.", whyProcess),
		acc("auth_stats", Bool, "no", "Event statistics of authentication.", whyStats),
		acc("auth_worker_max_count", Uint, "30", "How many worker processes look up users.", whyProcess),
	}}}
}
