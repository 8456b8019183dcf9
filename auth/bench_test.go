package auth

import "testing"

// BenchmarkLogin is a login with a password that costs little: what is left is ours.
func BenchmarkLogin(b *testing.B) {
	config := director()
	config.MaxPenalty = 15e9
	a, err := New(config)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(b.Context(), Request{Mechanism: "PLAIN", AuthID: "someone1", Password: "pass", RemoteAddr: office, Service: "imap"}); err != nil {
			b.Fatal(err)
		}
	}
}
