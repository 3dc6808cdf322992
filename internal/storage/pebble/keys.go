package pebble

// Pebble's tables cannot hold the empty key: one with nothing else in it ends
// in a panic while it is written. So the empty key, and every key of zeros
// only, has one zero more in pebble. Such keys come before all others, and the
// more zeros the later, so that the order remains; all other keys are as they
// are.

// inner returns a key as pebble has it.
func inner(key []byte) []byte {
	if !onlyZeros(key) {
		return key
	}
	return make([]byte, len(key)+1)
}

// outer is the other way. It returns a part of key.
func outer(key []byte) []byte {
	if !onlyZeros(key) {
		return key
	}
	return key[:len(key)-1]
}

func onlyZeros(key []byte) bool {
	for _, b := range key {
		if b != 0 {
			return false
		}
	}
	return true
}
