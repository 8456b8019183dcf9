package dictredis

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Config says where the server is and how it is used. The zero value is
// Dovecot's default.
type Config struct {
	Host     string        // name or address; "" means 127.0.0.1
	Port     int           // 0 means 6379
	Path     string        // of the server's socket, instead of Host and Port
	User     string        // for AUTH; "" means the server's default user
	Password string        // for AUTH; "" means that the server asks for none
	DB       int           // number of the database
	Prefix   string        // before every key
	Timeout  time.Duration // of a call; 0 means 10 s
}

// ParseURI reads Dovecot's notation for a Redis dict,
//
//	redis:[host=HOST][:port=PORT][:path=SOCKET][:prefix=PREFIX][:db=N][:password=SECRET][:timeout_msecs=N]
//
// and user= beside it. An IPv6 address stands in brackets. Errors do not show
// the password.
func ParseURI(uri string) (Config, error) {
	var c Config
	rest, ok := strings.CutPrefix(uri, "redis:")
	if !ok {
		return c, fmt.Errorf("not a redis: dictionary")
	}
	for _, arg := range splitArgs(rest) {
		if err := c.set(arg); err != nil {
			return Config{}, err
		}
	}
	return c, nil
}

// splitArgs splits at colons outside of brackets.
func splitArgs(s string) []string {
	depth := 0
	return strings.FieldsFunc(s, func(r rune) bool {
		switch r {
		case '[':
			depth++
		case ']':
			depth--
		}
		return r == ':' && depth <= 0
	})
}

func (c *Config) set(arg string) error {
	name, value, _ := strings.Cut(arg, "=")
	var err error
	switch name {
	case "host":
		c.Host = strings.Trim(value, "[]")
	case "port":
		c.Port, err = number(value, 1, 65535)
	case "path":
		c.Path = value
	case "prefix":
		c.Prefix = value
	case "db":
		c.DB, err = number(value, 0, 1<<20)
	case "user":
		c.User = value
	case "password":
		c.Password = value
	case "timeout_msecs":
		var ms int
		ms, err = number(value, 1, 3_600_000)
		c.Timeout = time.Duration(ms) * time.Millisecond
	case "expire_secs":
		return fmt.Errorf("expire_secs: refused: what is shared does not end by itself")
	default:
		return fmt.Errorf("%q is not known: host, port, path, prefix, db, user, password and timeout_msecs are", name)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func number(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q is not a number from %d to %d", s, least, most)
	}
	return n, nil
}

// address is what is dialed.
func (c *Config) address() (network, addr string) {
	if c.Path != "" {
		return "unix", c.Path
	}
	host, port := c.Host, c.Port
	if host == "" {
		host = "127.0.0.1"
	}
	if port == 0 {
		port = 6379
	}
	return "tcp", net.JoinHostPort(host, strconv.Itoa(port))
}

// name is the dictionary in errors.
func (c *Config) name() string {
	_, addr := c.address()
	return fmt.Sprintf("redis at %s, db %d, prefix %q", addr, c.DB, c.Prefix)
}
