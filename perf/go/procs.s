// Empty: a file of assembly lets procs.go declare functions that are defined elsewhere.
