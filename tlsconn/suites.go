package tlsconn

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// suite is one of TLS 1.2 that is offered, and the words that OpenSSL's cipher
// lists have for it.
type suite struct {
	id    uint16
	name  string
	words string
}

// suites are those with forward secrecy and authenticated encryption, in the
// order of preference. Every restriction to strong suites that a cipher list
// can make holds for them already.
func suites() []suite {
	const all = " ALL DEFAULT HIGH AEAD TLSv1.2 ECDHE EECDH kECDHE kEECDH "
	return []suite{
		{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256", all + "ECDSA aECDSA AES AES128 AESGCM SHA256 "},
		{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256", all + "RSA aRSA AES AES128 AESGCM SHA256 "},
		{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384", all + "ECDSA aECDSA AES AES256 AESGCM SHA384 "},
		{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384", all + "RSA aRSA AES AES256 AESGCM SHA384 "},
		{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305", all + "ECDSA aECDSA CHACHA20 SHA256 "},
		{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305", all + "RSA aRSA CHACHA20 SHA256 "},
	}
}

// Suites are all that a server offers up to TLS 1.2.
func Suites() []uint16 {
	var ids []uint16
	for _, s := range suites() {
		ids = append(ids, s.id)
	}
	return ids
}

// ParseSuites reads an OpenSSL cipher list (ssl_cipher_list) and gives those of
// Suites that it has. Suites that are not offered at all can be named in it.
func ParseSuites(list string) ([]uint16, error) {
	var in []string
	killed := map[string]bool{}
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(": ,;", r) }) {
		if strings.HasPrefix(word, "@") { // @STRENGTH sorts, @SECLEVEL is met
			continue
		}
		op := word[0]
		word = strings.TrimLeft(word, "!-+")
		for _, s := range suites() {
			if !s.is(word) || op == '+' {
				continue
			}
			in = slices.DeleteFunc(in, func(name string) bool { return name == s.name && (op == '!' || op == '-') })
			killed[s.name] = killed[s.name] || op == '!'
			if op != '!' && op != '-' && !killed[s.name] && !slices.Contains(in, s.name) {
				in = append(in, s.name)
			}
		}
	}
	var ids []uint16
	for _, s := range suites() {
		if slices.Contains(in, s.name) {
			ids = append(ids, s.id)
		}
	}
	if ids == nil {
		return nil, fmt.Errorf("none of the suites that are offered is in the list: %s", suiteNames())
	}
	return ids, nil
}

// is says whether a word of a cipher list, perhaps several joined by +, means s.
func (s suite) is(word string) bool {
	for part := range strings.SplitSeq(word, "+") {
		if part != s.name && !strings.Contains(s.words, " "+part+" ") {
			return false
		}
	}
	return true
}

func suiteNames() string {
	var names []string
	for _, s := range suites() {
		names = append(names, s.name)
	}
	return strings.Join(names, " ")
}

// ParseCurves reads the groups of key exchange (ssl_curve_list); nil for auto.
func ParseCurves(list string) ([]tls.CurveID, error) {
	if list == "" || list == "auto" {
		return nil, nil
	}
	known := map[string]tls.CurveID{
		"x25519": tls.X25519, "x25519mlkem768": tls.X25519MLKEM768,
		"p-256": tls.CurveP256, "prime256v1": tls.CurveP256, "secp256r1": tls.CurveP256,
		"p-384": tls.CurveP384, "secp384r1": tls.CurveP384,
		"p-521": tls.CurveP521, "secp521r1": tls.CurveP521,
	}
	var ids []tls.CurveID
	for name := range strings.SplitSeq(list, ":") {
		id, ok := known[strings.ToLower(name)]
		if !ok {
			return nil, fmt.Errorf("%q is not offered; X25519MLKEM768, X25519, P-256, P-384 and P-521 are", name)
		}
		ids = append(ids, id)
	}
	return ids, nil
}
