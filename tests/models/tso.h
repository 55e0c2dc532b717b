/*
 * x86-TSO for the models: each thread's plain stores go through a FIFO store buffer, from which
 * tso_memory carries them to memory whenever it likes; a thread sees its own buffered stores
 * first; fences and locked instructions wait until the buffer is empty.
 *
 * A model defines, before it includes this:
 *   THREADS    threads that store
 *   ADDRESSES  shared words; memory[] starts as zeros
 *   BUFFERED   stores a thread may have in its buffer at once
 *
 * A load, a store, a fence or a locked instruction is one step; what is between them interleaves.
 * C11's weaker machines reorder more: where a model relies on TSO alone (store to store, load to
 * load), the C has release and acquire.
 */
typedef store_buffer {
    byte count;
    byte address[BUFFERED];
    byte value[BUFFERED];
};
store_buffer buffer[THREADS];
byte memory[ADDRESSES];
hidden byte tso_index;

#define DRAINED(thread) (buffer[thread].count == 0)

/* result = *address */
inline load(thread, place, result)
{
    d_step {
        result = memory[place];
        tso_index = 0;
        do
        :: tso_index < buffer[thread].count ->
            if
            :: buffer[thread].address[tso_index] == place ->
                result = buffer[thread].value[tso_index]
            :: else
            fi;
            tso_index++
        :: else -> break
        od;
        tso_index = 0
    }
}

/* *address = value, some time */
inline store(thread, place, stored)
{
    d_step {
        buffer[thread].count < BUFFERED ->
        buffer[thread].address[buffer[thread].count] = place;
        buffer[thread].value[buffer[thread].count] = stored;
        buffer[thread].count++
    }
}

inline fence(thread)
{
    DRAINED(thread)
}

/* *address = value, now: xchg, or a seq_cst store. */
inline exchange(thread, place, stored)
{
    d_step { DRAINED(thread) -> memory[place] = stored }
}

/* lock cmpxchg: success tells whether it stored. */
inline compare_exchange(thread, place, expected, stored, success)
{
    d_step {
        DRAINED(thread) ->
        success = (memory[place] == expected);
        if
        :: success -> memory[place] = stored
        :: else
        fi
    }
}

/* A spinlock: taken by a locked instruction, let go by a plain store. */
inline lock(thread, place)
{
    d_step { DRAINED(thread) && memory[place] == 0 -> memory[place] = 1 }
}

inline unlock(thread, place)
{
    store(thread, place, 0)
}

inline tso_flush(thread)
{
    d_step {
        buffer[thread].count > 0 ->
        memory[buffer[thread].address[0]] = buffer[thread].value[0];
        buffer[thread].count--;
        tso_index = 0;
        do
        :: tso_index < buffer[thread].count ->
            buffer[thread].address[tso_index] = buffer[thread].address[tso_index + 1];
            buffer[thread].value[tso_index] = buffer[thread].value[tso_index + 1];
            tso_index++
        :: else -> break
        od;
        /* what is not used must not tell states apart */
        buffer[thread].address[buffer[thread].count] = 0;
        buffer[thread].value[buffer[thread].count] = 0;
        tso_index = 0
    }
}
