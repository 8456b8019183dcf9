package imap

// Quota is what a quota root allows and how much of it is in use (RFC 9208).
type Quota struct {
	Root     string
	Storage  QuotaResource // bytes
	Messages QuotaResource
}

// QuotaResource is one resource of a root. Limit 0 means that there is none.
type QuotaResource struct{ Usage, Limit uint64 }
