package id

// MaxRequestIDBytes bounds the name that a client chooses for a request: two
// UUIDs. It stands in each line of the log about it.
const MaxRequestIDBytes = 64

// SoundRequestID says whether a client may give a request this name: 1 to
// MaxRequestIDBytes characters out of A-Z a-z 0-9 '.' '_' '-', which are safe in
// every log.
func SoundRequestID(s string) bool {
	for i := range len(s) {
		if !nameByte(s[i]) {
			return false
		}
	}
	return s != "" && len(s) <= MaxRequestIDBytes
}
