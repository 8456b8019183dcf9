package config

import (
	"crypto/tls"
	"slices"
	"strings"
	"time"

	"github.com/roost-mail/roost/tlsconn"
)

// certPair are the certificate settings of the file, or of a block local or
// local_name.
type certPair struct {
	cert, key       string
	altCert, altKey string
}

// isPairRow says that a setting belongs to a certPair.
func isPairRow(row *Row) bool { return row.bind != nil && row.bind(new(certPair)) != nil }

// buildTLS reads the certificates and what goes with them.
func (p *parser) buildTLS(s *Settings, eff *section) {
	t := &s.TLS
	p.certificates(t, eff, tlsconn.Certificate{}, certPair{})
	none := len(t.Server.Certificates) == 0
	switch {
	case t.Mode == "auto" && none:
		t.Mode = "no"
	case t.Mode == "auto":
		t.Mode = "yes"
	case t.Mode != "no" && none && eff.vals["ssl_cert"].text == "": // otherwise it is an error already
		p.errorf(eff.vals["ssl"].pos, "ssl = %s: ssl_cert and ssl_key are missing", t.Mode)
	}
	var err error
	if t.Server.CipherSuites, err = tlsconn.ParseSuites(t.cipherList); err != nil {
		p.errorf(s.Where("ssl_cipher_list"), "ssl_cipher_list: %v", err)
	}
	if t.Server.Curves, err = tlsconn.ParseCurves(t.curveList); err != nil {
		p.errorf(s.Where("ssl_curve_list"), "ssl_curve_list: %v", err)
	}
	if t.minProtocol == "TLSv1.3" || t.minProtocol == "LATEST" {
		t.Server.MinVersion, t.Client.MinVersion = tls.VersionTLS13, tls.VersionTLS13
	}
	t.Server.NoTickets = slices.Contains(t.options, "no_ticket")
	p.buildClientTLS(s)
	p.buildClientCerts(s)
}

// buildClientCerts reads who may sign clients' certificates.
func (p *parser) buildClientCerts(s *Settings) {
	t, at := &s.TLS, s.Where("ssl_verify_client_cert")
	switch {
	case !t.VerifyClients:
		return
	case t.ca == "":
		p.errorf(at, "ssl_verify_client_cert = yes: ssl_ca is missing")
	case t.Mode == "no":
		p.warnf(at, "ssl_verify_client_cert = yes, and there is no TLS: nobody shows a certificate")
	case t.requireCRL || strings.Contains(t.ca, "-----BEGIN X509 CRL-----"):
		p.errorf(at, "ssl_verify_client_cert = yes: this version reads no revocation lists: leave them out of ssl_ca, and say ssl_require_crl = no")
	default:
		pool, err := tlsconn.ParsePool([]byte(t.ca))
		if err != nil {
			p.errorf(s.Where("ssl_ca"), "ssl_ca: %v", err)
		}
		t.Server.ClientCAs = pool
	}
}

// certificates reads those of a section and of the blocks in it. as says for
// whom they are; what a block does not set is that of the section around it.
func (p *parser) certificates(t *TLS, sec *section, as tlsconn.Certificate, around certPair) {
	pair := around
	p.assignAll(sec, &pair)
	p.certificate(t, sec, as, "ssl_cert", pair.cert, pair.key)
	p.certificate(t, sec, as, "ssl_alt_cert", pair.altCert, pair.altKey)
	for _, kid := range sec.kids {
		in := as
		switch kid.kind {
		case "local":
			nets, err := parseNets(kid.name)
			if err != nil || len(nets) != 1 {
				continue // an error already
			}
			in.Local = nets[0]
		case "local_name":
			in.Names = words(kid.name)
		default:
			continue
		}
		p.certificates(t, kid, in, pair)
	}
}

// certificate reads one pair, if the section itself sets its certificate.
func (p *parser) certificate(t *TLS, sec *section, as tlsconn.Certificate, name, cert, key string) {
	v, set := sec.vals[name]
	if !set || v.text == "" && v.file == "" {
		return
	}
	var err error
	if as.Certificate, err = tlsconn.ParsePair(cert, key); err != nil {
		hint := ""
		if strings.HasPrefix(v.text, "/") {
			hint = ": a file is named as <" + short(v.text)
		} else if keyFile := sec.vals[strings.Replace(name, "cert", "key", 1)]; keyFile.file != "" {
			hint = " (" + v.file + " and " + keyFile.file + ")"
		}
		p.errorf(v.pos, "%s: %v%s", name, err, hint)
		return
	}
	for _, doubt := range tlsconn.Doubts(&as.Certificate, as.Names, time.Now()) {
		p.warnf(v.pos, "%s: %s", name, doubt)
	}
	t.Server.Certificates = append(t.Server.Certificates, as)
}

func (p *parser) buildClientTLS(s *Settings) {
	t := &s.TLS
	if !t.VerifyServers {
		p.warnf(s.Where("ssl_client_require_valid_cert"),
			"ssl_client_require_valid_cert = no: whoever is between us and a server can read mail and passwords")
	}
	if t.clientCert != "" {
		pair, err := tlsconn.ParsePair(t.clientCert, t.clientKey)
		if err != nil {
			p.errorf(s.Where("ssl_client_cert"), "ssl_client_cert: %v", err)
		}
		t.Client.Certificate = &pair
	}
	if t.Client.CAFile != "" {
		pem, err := p.src.read(t.Client.CAFile, maxFile)
		if err == nil {
			_, err = tlsconn.ParsePool(pem)
		}
		if err != nil {
			p.errorf(s.Where("ssl_client_ca_file"), "ssl_client_ca_file: %s: %v", short(t.Client.CAFile), err)
		}
	}
}
