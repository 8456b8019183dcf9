package auth

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/sasl"
)

// scramScheme is {SCRAM-SHA-256}iterations,salt,stored key,server key, all but the
// first in base64.
func scramScheme(name string) scheme {
	return scheme{
		name: name, expensive: true,
		match: func(h *hasher, data string, g guess) (bool, error) {
			keys, err := parseKeys(name, data)
			if err != nil {
				return false, err
			}
			// Clients prepare passwords (RFC 5802 section 2.2); Dovecot does not
			// where it makes keys, and so the password as it is will do as well.
			for _, password := range []string{sasl.Prepare(g.password), g.password} {
				have, err := sasl.DeriveKeys(name, password, keys.Salt, keys.Iterations)
				if err != nil {
					return false, fmt.Errorf("%w: %w", errScheme, err)
				}
				if h.equal(string(have.StoredKey), string(keys.StoredKey)) {
					return true, nil
				}
				if password == g.password {
					break
				}
			}
			return false, nil
		},
		make: func(g guess, rounds int) (string, error) {
			if rounds = orElse(rounds, sasl.DefaultIterations); rounds < sasl.DefaultIterations {
				return "", fmt.Errorf("rounds: at least %d", sasl.DefaultIterations)
			}
			keys, err := sasl.DeriveKeys(name, sasl.Prepare(g.password), randomText(16), rounds)
			return formatKeys(keys), err
		},
	}
}

func formatKeys(k sasl.Keys) string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%d,%s,%s,%s", k.Iterations, b64([]byte(k.Salt)), b64(k.StoredKey), b64(k.ServerKey))
}

func parseKeys(mechanism, data string) (sasl.Keys, error) {
	parts := strings.Split(data, ",")
	if len(parts) != 4 || len(data) > 1024 {
		return sasl.Keys{}, fmt.Errorf("%w: not iterations,salt,key,key", errScheme)
	}
	var raw [3][]byte
	for i := range raw {
		var err error
		if raw[i], err = base64.StdEncoding.DecodeString(parts[i+1]); err != nil {
			return sasl.Keys{}, fmt.Errorf("%w: encoding of the keys", errScheme)
		}
	}
	iterations, err := strconv.Atoi(parts[0])
	size := sasl.KeySize(mechanism)
	if err != nil || iterations < 1 || iterations > maxRounds || len(raw[0]) == 0 || len(raw[1]) != size || len(raw[2]) != size {
		return sasl.Keys{}, fmt.Errorf("%w: iterations, salt or keys of SCRAM", errScheme)
	}
	return sasl.Keys{Salt: string(raw[0]), Iterations: iterations, StoredKey: raw[1], ServerKey: raw[2]}, nil
}
