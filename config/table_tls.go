package config

const (
	whySuites = "suites are those of TLS 1.3, or have forward secrecy and authenticated encryption; others are not offered"
)

func tlsRows() []group {
	return []group{{"", "TLS", []Row{
		imp("ssl", Enum, "auto", "TLS on this server's ports: no; yes, by STARTTLS and on listeners with ssl = yes; required, and nobody logs in without, but from this machine and login_trusted_networks. auto, Roost's own, is yes if there is an ssl_cert, otherwise no; Dovecot's default is yes.").enum("auto", "no", "yes", "required").
			to(func(s *Settings) any { return &s.TLS.Mode }),
		imp("ssl_cert", String, "", "Certificate and the chain behind it, in PEM: <FILE. Also in local_name and local blocks.").
			toPair(func(c *certPair) any { return &c.cert }),
		imp("ssl_key", String, "", "Its key, in PEM: <FILE.").toPair(func(c *certPair) any { return &c.key }).secret(),
		ref("ssl_key_password", String, "", "Password of the key.", "keys are read without a password: openssl pkey -in KEY -out KEY.plain takes it off").secret(),
		imp("ssl_alt_cert", String, "", "A second certificate for clients that the first is not for, as RSA beside ECDSA: <FILE.").
			toPair(func(c *certPair) any { return &c.altCert }),
		imp("ssl_alt_key", String, "", "Its key: <FILE.").toPair(func(c *certPair) any { return &c.altKey }).secret(),
		imp("ssl_min_protocol", String, "TLSv1.2", "The oldest version of TLS.").
			only("older versions are not spoken", "TLSv1.2", "TLSv1.3", "LATEST").
			to(func(s *Settings) any { return &s.TLS.minProtocol }),
		imp("ssl_cipher_list", String, "ALL:!kRSA:!SRP:!kDHd:!DSS:!aNULL:!eNULL:!EXPORT:!DES:!3DES:!MD5:!PSK:!RC4:!ADH:!LOW@STRENGTH",
			"Which of the suites of TLS 1.2 are offered, as OpenSSL writes it. At most those with ECDHE and AES-GCM or ChaCha20 are; the order is ours.").
			to(func(s *Settings) any { return &s.TLS.cipherList }),
		ref("ssl_cipher_suites", String, "", "Suites of TLS 1.3.", "all three of TLS 1.3 are always offered"),
		imp("ssl_curve_list", String, "", "Groups for the key exchange, separated by colons; empty or auto is X25519MLKEM768, X25519, P-256, P-384, P-521.").
			to(func(s *Settings) any { return &s.TLS.curveList }),
		acc("ssl_prefer_server_ciphers", Bool, "no", "The server chooses the cipher.", "the server always chooses: what the hardware of both is good at"),
		imp("ssl_options", List, "", "no_ticket: sessions are not resumed. no_compression holds anyway.").
			only("of OpenSSL's options these have a meaning here", "no_ticket", "no_compression").
			to(func(s *Settings) any { return &s.TLS.options }),
		acc("ssl_dh", String, "", "Diffie-Hellman parameters.", whySuites),
		imp("ssl_client_ca_file", String, "", "File with the authorities of servers that we connect to. Without it and ssl_client_ca_dir the system's are used.").
			to(func(s *Settings) any { return &s.TLS.Client.CAFile }),
		imp("ssl_client_ca_dir", String, "", "Directory with such files, each as a whole in PEM.").
			to(func(s *Settings) any { return &s.TLS.Client.CADir }),
		imp("ssl_client_cert", String, "", "Our certificate for servers that ask for one: <FILE.").
			to(func(s *Settings) any { return &s.TLS.clientCert }),
		imp("ssl_client_key", String, "", "Its key: <FILE.").to(func(s *Settings) any { return &s.TLS.clientKey }).secret(),
		imp("ssl_client_require_valid_cert", Bool, "yes", "Verify servers that we connect to. The passdb fields ssl and starttls, and imapc_ssl_verify, can make one exception.").
			to(func(s *Settings) any { return &s.TLS.VerifyServers }),
		imp("ssl_verify_client_cert", Bool, "no", "Ask clients for a certificate by an authority of ssl_ca; one with another certificate is not let in. auth_ssl_require_client_cert, or client_cert of a listener, refuses those without.").
			to(func(s *Settings) any { return &s.TLS.VerifyClients }),
		imp("ssl_ca", String, "", "Authorities of client certificates: <FILE.").to(func(s *Settings) any { return &s.TLS.ca }),
		acc("ssl_cert_username_field", String, "commonName", "Field with the user name.", "a certificate says that a client may come, not who it is"),
		imp("ssl_require_crl", Bool, "yes", "Client certificates need a revocation list. This version reads none: with ssl_verify_client_cert = yes say no here.").
			to(func(s *Settings) any { return &s.TLS.requireCRL }),
		acc("ssl_crypto_device", String, "", "Hardware engine.", "the processor's own instructions are used"),
		acc("ssl_protocols", List, "", "Versions of TLS.", whyGone),
		acc("ssl_dh_parameters_length", Uint, "1024", "Size of Diffie-Hellman parameters.", whyGone),
		acc("ssl_parameters_regenerate", Time, "0", "How often they are made anew.", whyGone),
		acc("verbose_ssl", Bool, "no", "Log every step of TLS.", "failed handshakes are always logged"),
	}}}
}
